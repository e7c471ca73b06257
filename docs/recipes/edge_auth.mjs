// Tells Edge Auth which users of a Node application are still welcome. client is
// one of the npm package redis, of the Redis in Edge Auth's `store redis`.
//
//     await tellEdgeAuth(client, { id: 7, active: true, name: "Ann", groups: ["staff"] });
//     await logOutEverywhere(client, { id: 7, active: true, name: "Ann" });
//
// Call it after the change is in your database. id is what `user` of your policy
// points at; all else may be left out.
export async function tellEdgeAuth(client, { id, ...record }, prefix = "edge_auth:") {
  const { active = true, name, email, groups, not_before } = record;
  await client.set(`${prefix}user:${id}`, JSON.stringify({ active, name, email, groups, not_before }));
}

// A user who has been deleted needs a record that says so.
export const forgetUser = (client, id, prefix) => tellEdgeAuth(client, { id, active: false }, prefix);

// Ends all logins before now, of credentials that say when that was.
export const logOutEverywhere = (client, user, prefix) =>
  tellEdgeAuth(client, { ...user, not_before: Date.now() / 1000 }, prefix);
