// mlkem768x25519-sha256 (draft-ietf-sshm-mlkem-hybrid-kex), either side of it, from npm's mlkem and node's X25519. A line
// of standard input is a command, a line of standard output its answer, all bytes in hexadecimal:
//
//    keypair              the client's public value
//    decapsulate REPLY    K
//    encapsulate VALUE    the server's public value, a blank, K
'use strict';

const crypto = require('crypto');
const readline = require('readline');
const { MlKem768 } = require('mlkem');

const kem = new MlKem768();
const CIPHERTEXT = 1088;
const PUBLIC = 1184;

const hex = (bytes) => Buffer.from(bytes).toString('hex');

function newPair() {
  const pair = crypto.generateKeyPairSync('x25519');
  return { private: pair.privateKey, bytes: Buffer.from(pair.publicKey.export({ format: 'jwk' }).x, 'base64url') };
}

function curveSecret(pair, bytes) {
  const jwk = { kty: 'OKP', crv: 'X25519', x: Buffer.from(bytes).toString('base64url') };
  return crypto.diffieHellman({ privateKey: pair.private, publicKey: crypto.createPublicKey({ key: jwk, format: 'jwk' }) });
}

function combine(pq, classic) {
  return hex(crypto.createHash('sha256').update(pq).update(classic).digest());
}

let ours; // of the last keypair

const commands = {
  async keypair() {
    const [publicKey, secretKey] = await kem.generateKeyPair();
    ours = { secretKey, curve: newPair() };
    return hex(publicKey) + hex(ours.curve.bytes);
  },
  async decapsulate(reply) {
    const secret = await kem.decap(reply.subarray(0, CIPHERTEXT), ours.secretKey);
    return combine(secret, curveSecret(ours.curve, reply.subarray(CIPHERTEXT)));
  },
  async encapsulate(value) {
    const [ciphertext, secret] = await kem.encap(value.subarray(0, PUBLIC));
    const curve = newPair();
    return `${hex(ciphertext)}${hex(curve.bytes)} ${combine(secret, curveSecret(curve, value.subarray(PUBLIC)))}`;
  },
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, argument] = line.split(' ');
    console.log(await commands[name](new Uint8Array(Buffer.from(argument || '', 'hex'))));
  }
}

main();
