// A server on npm's ssh2 that does as it is told: see scripted.lua for its settings and the commands of its shell.
'use strict';

const fs = require('fs');
const { Server, utils: { parseKey } } = require('ssh2');
const { sendPacket } = require('ssh2/lib/protocol/utils.js');

const settings = JSON.parse(process.argv[2]);
const authorized = settings.authorized.map((line) => parseKey(line));

const log = (...words) => console.error(...words);

function sendPayload(protocol, payload) {
  const write = protocol._packetRW.write;
  const packet = write.alloc(payload.length);
  payload.copy(packet, write.allocStart);
  sendPacket(protocol, write.finalize(packet));
}

function string(text) {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function uint32(n) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
}

// Messages that need no channel. False if the words name none.
function send(client, words) {
  const [what, ...rest] = words;
  const protocol = client._protocol;
  const text = rest.slice(1).join(' ');
  switch (what) {
    case 'ignore':
      for (let i = 0; i < Number(rest[0]); i++)
        sendPayload(protocol, Buffer.concat([Buffer.from([2]), string(text)]));
      return true;
    case 'debug':
      sendPayload(protocol, Buffer.concat([Buffer.from([4, rest[0] === 'true' ? 1 : 0]), string(text), string('en')]));
      return true;
    case 'unimplemented':
      sendPayload(protocol, Buffer.concat([Buffer.from([3]), uint32(Number(rest[0]))]));
      return true;
    case 'raw':
      sendPayload(protocol, Buffer.from(rest[0], 'hex'));
      return true;
    case 'disconnect':
      sendPayload(protocol, Buffer.concat([Buffer.from([1]), uint32(Number(rest[0])), string(text), string('en')]));
      client.end();
      return true;
    case 'abort':
      client._sock.destroy();
      return true;
    case 'rekey':
      client.rekey();
      return true;
    default:
      return false;
  }
}

function finish(channel, status) {
  channel.exit(status);
  channel.end();
}

function flood(channel, left, done) {
  while (left > 0) {
    const block = Buffer.alloc(Math.min(left, 32768), 'x');
    left -= block.length;
    if (!channel.write(block)) {
      channel.once('drain', () => flood(channel, left, done));
      return;
    }
  }
  done();
}

function run(client, channel, words, known) {
  const [what, ...rest] = words;
  const text = rest.join(' ');
  if (send(client, words)) {
    finish(channel, 0);
    return;
  }
  switch (what) {
    case 'echo':
      channel.write(text);
      break;
    case 'stderr':
      channel.stderr.write(text);
      break;
    case 'cat':
      channel.on('data', (data) => channel.write(data));
      channel.on('end', () => finish(channel, 0));
      return;
    case 'flood':
      flood(channel, Number(rest[0]), () => finish(channel, 0));
      return;
    case 'exit':
      finish(channel, Number(rest[0]));
      return;
    case 'exit-signal':
      channel.exit(rest[0], rest[1] === 'true', rest.slice(2).join(' '));
      channel.end();
      return;
    case 'env':
      channel.write(known.env[rest[0]] || '');
      break;
    case 'pty':
      channel.write(known.pty || '');
      break;
    default:
      channel.stderr.write('no such command');
      finish(channel, 127);
      return;
  }
  finish(channel, 0);
}

// Whether the credentials of one authentication request are good; prompts are asked through `done`.
function check(ctx, state, done) {
  if (ctx.username !== settings.user)
    return done(false);
  switch (ctx.method) {
    case 'none':
      return done(Boolean(settings.no_auth));
    case 'password':
      if (settings.change_password && !state.changed) {
        return ctx.requestChange(settings.change_password, (next) => {
          state.changed = ctx.password === settings.password;
          settings.password = next;
          done(state.changed);
        });
      }
      return done(ctx.password === settings.password);
    case 'publickey': {
      const key = authorized.find((one) => one.getPublicSSH().equals(ctx.key.data));
      return done(Boolean(key) && (!ctx.signature || key.verify(ctx.blob, ctx.signature, ctx.hashAlgo) === true));
    }
    case 'keyboard-interactive': {
      const ask = (i) => {
        if (i === settings.rounds.length)
          return done(true);
        const { name = '', instruction = '', prompts } = settings.rounds[i];
        ctx.prompt(prompts.map((p) => ({ prompt: p.text, echo: p.echo })), name, instruction, (answers) => {
          const good = prompts.length === answers.length && prompts.every((p, j) => p.answer === answers[j]);
          return good ? ask(i + 1) : done(false);
        });
      };
      return ask(0);
    }
    default:
      return done(false);
  }
}

function authenticate(client) {
  const state = { passed: [], changed: false };
  client.on('authentication', (ctx) => {
    const left = () => (settings.partial || settings.methods).filter((method) => !state.passed.includes(method));
    if (ctx.method !== 'none' && !left().includes(ctx.method))
      return ctx.reject(left());
    check(ctx, state, (good) => {
      if (!good)
        return ctx.reject(left());
      // A question whether a key would do counts for nothing yet.
      if (settings.partial && !(ctx.method === 'publickey' && !ctx.signature)) {
        state.passed.push(ctx.method);
        if (left().length > 0)
          return ctx.reject(left(), true);
      }
      ctx.accept();
    });
  });
}

function sessions(client) {
  client.on('session', (accept) => {
    const known = { env: {} };
    const session = accept();
    session.on('env', (reply, reject, info) => {
      known.env[info.key] = info.val;
      if (reply) reply();
    });
    session.on('pty', (reply, reject, info) => {
      known.pty = `${info.term} ${info.cols} ${info.rows}`;
      if (reply) reply();
    });
    session.on('exec', (reply, reject, info) => run(client, reply(), info.command.split(' '), known));
  });
}

const algorithms = {};
for (const [ours, theirs] of [['kex', 'kex'], ['ciphers', 'cipher'], ['macs', 'hmac'], ['compression', 'compress']]) {
  if (settings[ours])
    algorithms[theirs] = settings[ours];
}

if (settings.everything) {
  const all = require('ssh2/lib/protocol/constants.js');
  algorithms.kex = all.SUPPORTED_KEX.filter((name) => !name.includes('group-exchange')); // it is a client's alone
  algorithms.cipher = all.SUPPORTED_CIPHER;
  algorithms.hmac = all.SUPPORTED_MAC;
  algorithms.serverHostKey = all.SUPPORTED_SERVER_HOST_KEY;
  algorithms.compress = all.SUPPORTED_COMPRESSION;
}

const server = new Server({
  hostKeys: settings.host_keys.map((path) => fs.readFileSync(path)),
  banner: settings.banner,
  greeting: settings.greeting,
  algorithms,
}, (client) => {
  client.on('error', (error) => log('client error:', error.message));
  client.on('close', () => log('closed'));
  authenticate(client);
  sessions(client);
});

server.listen(0, '127.0.0.1', () => console.log('ready', server.address().port));
