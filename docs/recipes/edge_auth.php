<?php
// Tells Edge Auth which users of a PHP application are still welcome. $redis is
// connected to the Redis in Edge Auth's `store redis`, by ext-redis.
//
//     tell_edge_auth($redis, 7, active: true, name: 'Ann', groups: ['staff']);
//
// Call it after the change is in your database; for a user who has been deleted,
// with active: false. $id is what `user` of your policy points at. null is unknown.
function tell_edge_auth(
	Redis $redis, int|string $id, bool $active, ?string $name = null, ?string $email = null,
	?array $groups = null, string $prefix = 'edge_auth:',
): void {
	$record = ['active' => $active, 'name' => $name, 'email' => $email, 'groups' => $groups === null ? null : array_values($groups)];
	$redis->set("{$prefix}user:$id", json_encode($record, JSON_THROW_ON_ERROR));
}
