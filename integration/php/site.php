<?php
// A PHP site whose sessions live in Redis, run by the tests with
// php -S 127.0.0.1:PORT -d session.save_handler=redis … site.php
session_start();
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
case '/login':
	session_regenerate_id(true);
	$_SESSION['user_id'] = 4711;
	$_SESSION['user'] = (object)['name' => $_POST['username'], 'since' => new DateTimeImmutable('2024-05-06')];
	$_SESSION['text'] = 'a|s:1:"x";}';
	echo 'logged in';
	break;
case '/logout':
	session_destroy();
	echo 'logged out';
	break;
default:
	echo $_SESSION['user_id'] ?? 'nobody';
}
