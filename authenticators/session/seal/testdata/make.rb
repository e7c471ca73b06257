# Prints cookies as ActionDispatch seals them, a line of JSON each.
# usage: ruby make.rb > rails.jsonl (Debian: ruby ruby-activesupport)
require "active_support"
require "active_support/core_ext"
require "active_support/message_encryptor"
require "active_support/message_verifier"
require "json"

SECRET = "a secret_key_base of a Rails application, for tests only"
NAME = "_app_session"
ID = "84c23f4696ec91a2196ebd76171e2116"

def key(salt, size, digest) = OpenSSL::PKCS5.pbkdf2_hmac(SECRET, salt, 1000, size, digest)

def out(name, cookie, id)
  puts JSON.generate({ name: name, secret: SECRET, cookie: NAME, value: cookie, id: id })
end

%w[SHA1 SHA256].each do |digest|
  null = ActiveSupport::MessageEncryptor::NullSerializer
  encryptor = ActiveSupport::MessageEncryptor.new(key("authenticated encrypted cookie", 32, digest), cipher: "aes-256-gcm", serializer: null)
  verifier = ActiveSupport::MessageVerifier.new(key("signed cookie", 64, digest), digest: digest, serializer: null)
  purpose = { purpose: "cookie.#{NAME}" }
  out("encrypted, #{digest}", encryptor.encrypt_and_sign(ID.to_json, **purpose), ID)
  out("signed, #{digest}", verifier.generate(ID.to_json, **purpose), ID)
  out("encrypted for another cookie, #{digest}", encryptor.encrypt_and_sign(ID.to_json, purpose: "cookie.other"), nil)
  out("signed for no cookie, #{digest}", verifier.generate(ID.to_json), nil)
end
