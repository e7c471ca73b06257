<?php
// Prints what PHP's serializers make of values, a line of JSON each.
// usage: php make.php > ../php.jsonl (Debian: php-cli php-igbinary php-msgpack)

ob_start(); // or no session could begin

class Base { private $id = 1; protected $kind = 'b'; }
class User extends Base { public $name = 'x'; private $secret = 's'; public $roles = ['a', 'b']; }
class Magic { function __serialize(): array { return ['id' => 7, 'k' => 'v']; } function __unserialize(array $a): void {} }
class Custom implements Serializable {
	public function serialize() { return 'anything {}"; at all'; }
	public function unserialize($s) {}
}
enum Suit: string { case Hearts = 'h'; }

function out($name, $decoder, $bytes, $want) {
	echo json_encode(['name' => $name, 'decoder' => $decoder, 'value' => base64_encode($bytes), 'want' => $want],
		JSON_PRESERVE_ZERO_FRACTION | JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR), "\n";
}

function numbers() {
	$n = [];
	foreach ([0, 1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2147483647, 2147483648, 4294967295, 4294967296, PHP_INT_MAX] as $i) {
		$n["p$i"] = $i;
		$n["n$i"] = -$i;
	}
	$n['min'] = PHP_INT_MIN;
	return $n;
}

$large = [
	'user_id' => 4711, 'username' => 'jane.doe', 'email' => 'jane.doe@example.com', 'locale' => 'de_DE', 'is_admin' => false,
	'csrf' => str_repeat('0123456789abcdef', 4), 'roles' => ['admin', 'editor', 'staff', 'billing', 'support'], 'visits' => 17,
	'cart' => array_map(fn($i) => ['sku' => "sku-$i", 'count' => $i, 'price' => 1.5 * $i], range(1, 2)),
	'prefs' => ['theme' => 'dark', 'size' => 'large', 'beta' => true], 'note' => str_repeat('lorem ipsum dolor sit amet, ', 33),
	'flash' => ['notice' => ['Signed in.'], 'alert' => []], 'last' => 'https://example.com/orders/1?page=2', 'text' => str_repeat('x', 260),
];
$nothing = new stdClass;
$values = [
	'numbers' => [numbers(), numbers()],
	'a large one' => [$large, $large],
	'texts' => [$t = ['empty' => '', 'long' => str_repeat('y', 70000 - 65000), 'utf8' => "Zoë \u{1F469}", 'tricks' => 'a|s:1:"x";}'], $t],
	'constants' => [$c = ['t' => true, 'f' => false, 'n' => null, 'd' => 1.5, 'e' => 1e100, 'neg0' => -0.5], $c],
	'lists' => [$l = ['list' => [1, [2, [3]]], 'hole' => [0 => 'a', 2 => 'b'], 'order' => [1 => 'b', 0 => 'a'], 'empty' => []], $l],
	'repeated' => [$r = ['a' => 'same text', 'b' => 'same text', 'same text' => ['same text', 'a', 'b']], $r],
	'objects' => [
		['user_id' => '5', 'user' => new User, 'magic' => new Magic, 'std' => (object)['a' => (object)['b' => 1]], 'after' => 'x'],
		['user_id' => '5', 'user' => ['name' => 'x', 'secret' => 's', 'roles' => ['a', 'b'], 'id' => 1, 'kind' => 'b'], 'magic' => ['id' => 7, 'k' => 'v'],
			'std' => ['a' => ['b' => 1]], 'after' => 'x'],
	],
];
$enum = [['user_id' => '5', 'suit' => Suit::Hearts, 'again' => Suit::Hearts, 'after' => 'x'],
	['user_id' => '5', 'suit' => $nothing, 'again' => $nothing, 'after' => 'x']];
$custom = [['user_id' => '5', 'c' => @new Custom, 'after' => 'x'], ['user_id' => '5', 'c' => $nothing, 'after' => 'x']];
$shared = new User;
$same = [['user_id' => '5', 'one' => $shared, 'two' => $shared, 'after' => 'x'],
	['user_id' => '5', 'one' => $values['objects'][1]['user'], 'two' => $nothing, 'after' => 'x']];

foreach ($values + ['enumeration' => $enum, 'custom' => $custom, 'same object' => $same] as $name => [$value, $want]) {
	out("php_serialize: $name", 'php', serialize($value), $want);
	if ($name != 'custom') out("igbinary: $name", 'php', igbinary_serialize($value), $want);
	if ($name != 'custom' && $name != 'enumeration') out("msgpack: $name", 'php', msgpack_serialize($value), $want);
	foreach (['php', 'php_binary'] as $handler) {
		if ($name == 'repeated' || $name == 'numbers') continue; // names that are numbers, or too long
		ini_set('session.serialize_handler', $handler);
		ini_set('session.use_cookies', '0');
		ini_set('session.save_path', '/tmp');
		@session_start();
		$_SESSION = $value;
		out("$handler: $name", 'php', session_encode(), $want);
		session_destroy();
	}
}
out('php_serialize: nothing', 'php', serialize([]), $nothing);
out('igbinary: nothing', 'php', igbinary_serialize([]), $nothing);
out('msgpack: nothing', 'php', msgpack_serialize([]), $nothing);
