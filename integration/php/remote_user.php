<?php
// A PHP page that says who the gateway says is calling, run by the tests behind
// php_fastcgi.
header('Content-Type: application/json');
echo json_encode([
	'REMOTE_USER' => $_SERVER['REMOTE_USER'] ?? null,
	'HTTP_REMOTE_USER' => $_SERVER['HTTP_REMOTE_USER'] ?? null,
	'HTTP_REMOTE_GROUPS' => $_SERVER['HTTP_REMOTE_GROUPS'] ?? null,
]);
