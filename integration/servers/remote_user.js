// A Node server that says who the gateway says is calling, run by the tests.
//
// usage: remote_user.js PORT
require('node:http')
  .createServer((req, res) => res.end(req.headers['remote-user'] ?? 'nobody'))
  .listen(Number(process.argv[2]), '127.0.0.1');
