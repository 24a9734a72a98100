-- The primitives that the hand-made server stands on: those of the core as its testing module shows them, each proven
-- by published vectors in spec/unit, in a form that fits the peer. What the core builds from them (framing, exchange
-- hash, keys, counters) is not used here.

local testing = require "moonssh_testing"

local crypto, keys = testing.crypto, testing.keys

local primitives = {
   hash = crypto.hash,
   random = crypto.random,
   standard_group = crypto.standard_group,
}

-- A function that gives the MAC of bytes.
function primitives.hmac(name, key)
   local hmac = assert(crypto.new_hmac(name, key))
   return function(bytes)
      return assert(hmac:compute(bytes))
   end
end

-- The same under a number.
function primitives.umac(length, key)
   return function(number, bytes)
      return assert(crypto.umac(length, key, number, bytes))
   end
end

-- A function that en- or decrypts bytes, going on where the last call ended.
function primitives.cipher(name, encrypt, key, iv)
   local cipher = assert(crypto.cipher(name, encrypt, key, iv))
   return function(bytes)
      return assert(cipher:apply(bytes))
   end
end

-- One packet under one nonce: text, tag.
function primitives.gcm_seal(key, nonce, length, text)
   return assert(crypto.gcm(true, key, nonce)):seal(length, text)
end

-- The text, or nil when the tag does not match.
function primitives.gcm_open(key, nonce, length, text, tag)
   return (assert(crypto.gcm(false, key, nonce)):open(length, text, tag))
end

function primitives.chacha(key)
   return assert(crypto.chachapoly(key))
end

-- The responder's side of a key exchange: an object for primitives.encapsulate.
function primitives.kem(name)
   return assert(crypto.kem(name))
end

function primitives.kem_group(p, g)
   return assert(crypto.kem("group", p, g, { 1024, 16384 }))
end

-- Public value and secret.
function primitives.encapsulate(kem, peer)
   local public, secret = kem:encapsulate(peer)
   assert(public, "the client's public value is bad")
   return public, secret
end

function primitives.verify(blob, data, signature, algorithm)
   local key = assert(keys.parse_public(blob))
   return key:verify(algorithm, data, signature) == true
end

return primitives
