# Prints what Ruby's Marshal and Rails' cache make of values, a line of JSON each.
# usage: ruby make.rb > ../ruby.jsonl (Debian: ruby ruby-activesupport)
require "active_support"
require "active_support/core_ext"
require "active_support/cache"
require "base64"
require "bigdecimal"
require "date"
require "json"
require "set"

User = Struct.new(:id, :name)
class Point
  def initialize; @x = 1; @name = "p"; @self = self; end
end
class Dumped
  def _dump(_) = "anything"
  def self._load(_) = new
end
class Marshaled
  def marshal_dump = ["a", { "b" => 1 }]
  def marshal_load(_); end
end
class Words < Array; end
class Table < Hash; end
module Extra; end

def out(name, decoder, bytes, want)
  puts JSON.generate({ name: name, decoder: decoder, value: Base64.strict_encode64(bytes), want: want })
end

def dump(name, value, want) = out("marshal: #{name}", "rails", Marshal.dump(value), want)

numbers = {}
[0, 1, 122, 123, 127, 128, 255, 256, 65_535, 65_536, 2**24 - 1, 2**24, 2**30 - 1, 2**30, 2**31, 2**32, 2**62, 2**63 - 1, 2**64, 2**70].each do |n|
  numbers["p#{n}"] = n
  numbers["n#{n}"] = -n
end
dump("numbers", numbers, numbers)
large = {
  "user_id" => 4711, "username" => "jane.doe", "email" => "jane.doe@example.com", "locale" => "de_DE", "is_admin" => false,
  "csrf" => "0123456789abcdef" * 4, "roles" => %w[admin editor staff billing support], "visits" => 17,
  "cart" => (1..2).map { |i| { "sku" => "sku-#{i}", "count" => i, "price" => 1.5 * i } },
  "prefs" => { "theme" => "dark", "size" => "large", "beta" => true }, "note" => "lorem ipsum dolor sit amet, " * 33,
  "flash" => { "notice" => ["Signed in."], "alert" => [] }, "last" => "https://example.com/orders/1?page=2", "text" => "x" * 260,
}
dump("a large one", large, large)
same = "same text"
dump("repeated", { "a" => same, "b" => same, "c" => [same, same, :sym, :sym, 1.5, 1.5, 2**70, 2**70] },
     { "a" => same, "b" => same, "c" => [same, same, "sym", "sym", 1.5, 1.5, 2**70, 2**70] })
dump("texts", { "utf8" => "Zoë", "ascii" => "a".encode("US-ASCII"), "latin" => "x".encode("ISO-8859-1"), "bytes" => "b".b, sym: :"ü" },
     { "utf8" => "Zoë", "ascii" => "a", "latin" => "x", "bytes" => "b", "sym" => "ü" })
dump("floats", { "a" => 1.5, "b" => -0.25, "c" => 1e100, "inf" => Float::INFINITY, "nan" => Float::NAN, "z" => 3 },
     { "a" => 1.5, "b" => -0.25, "c" => 1e100, "inf" => {}, "nan" => {}, "z" => 3 })
zone = "Europe/Berlin"
time = Time.at(1_700_000_000, 123_456_789, :nsec)
shared = { "deep" => [1, { "x" => same }] }
dump("objects",
     { "user_id" => "5", "user" => User.new(7, "x"), "point" => Point.new, "dumped" => Dumped.new, "made" => Marshaled.new, "time" => time,
       "date" => Date.new(2024, 5, 6), "decimal" => BigDecimal("1.5"), "class" => String, "module" => Extra, "regexp" => /a+/i,
       "rational" => Rational(1, 2), "set" => Set[1, 2], "words" => Words["a", "b"], "table" => Table["a", 1], "extended" => "e".dup.extend(Extra),
       "range" => (1..2), "after" => same, "zone" => zone, "again" => same, "shared" => shared, "shared2" => shared, "zone2" => zone },
     { "user_id" => "5", "user" => { "id" => 7, "name" => "x" }, "point" => { "@x" => 1, "@name" => "p", "@self" => {} }, "dumped" => {}, "made" => {}, "time" => {},
       "date" => {}, "decimal" => {}, "class" => {}, "module" => {}, "regexp" => {},
       "rational" => {}, "set" => { "@hash" => { "1" => true, "2" => true } }, "words" => %w[a b], "table" => { "a" => 1 }, "extended" => "e",
       "range" => { "excl" => false, "begin" => 1, "end" => 2 }, "after" => same, "zone" => zone, "again" => same,
       "shared" => { "deep" => [1, { "x" => same }] }, "shared2" => { "deep" => [1, { "x" => same }] }, "zone2" => zone })
default = Hash.new("d")
default["a"] = 1
dump("hash with a default", { "h" => default, "z" => "d" }, { "h" => { "a" => 1 }, "z" => "d" })
dump("indifferent", { "a" => { "b" => 1 } }.with_indifferent_access, { "a" => { "b" => 1 } })
times = { "user_id" => "5", "t1" => Time.utc(2024, 1, 1), "s" => "after", "t2" => Time.at(0).localtime("+02:00"), "s2" => "after" }
times["s3"] = times["s"]
dump("times before repeated text", times, { "user_id" => "5", "t1" => {}, "s" => "after", "t2" => {}, "s2" => "after", "s3" => "after" })

{ "small" => { "user_id" => 5 }, "large" => large }.each do |name, session|
  entry = ActiveSupport::Cache::Entry.new(session, compress: true, compress_threshold: 100, expires_in: 3.0e9)
  out("Rails 6.1, #{name}", "rails", Marshal.dump(entry), session)
end
