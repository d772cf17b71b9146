// apps_node.js - an HTTP and a TCP server and their client on Node.js
//
//   apps_node.js server PORT          HTTP on PORT, an echoing TCP server on PORT + 1
//   apps_node.js cluster PORT         the same by two workers: the primary accepts and passes the connections on
//   apps_node.js client PORT          checks every answer; exit 0 when all are right
'use strict';
const http = require('http');
const net = require('net');
const crypto = require('crypto');
const cluster = require('cluster');

const role = process.argv[2];
const port = Number(process.argv[3]);
const hash = (data) => crypto.createHash('sha256').update(data).digest('hex');

function serve() {
	// answers with the digest of what was sent and with as many bytes as the path asks for
	const server = http.createServer((req, res) => {
		const digest = crypto.createHash('sha256');

		req.on('data', (chunk) => digest.update(chunk));
		req.on('end', () => {
			const size = Number(req.url.slice(1));
			const body = Buffer.alloc(size, req.headers['x-fill'] || 'x');

			res.setHeader('x-digest', digest.digest('hex'));
			if (size % 2) // chunked, in pieces
				for (let at = 0; at < size; at += 10000)
					res.write(body.subarray(at, Math.min(size, at + 10000)));
			else
				res.setHeader('content-length', size);
			res.end(size % 2 ? undefined : body);
		});
	});
	// a kept connection that waits long on a busy machine is not closed under the next request
	server.keepAliveTimeout = server.headersTimeout = server.requestTimeout = 0;
	server.listen(port, '127.0.0.1');
	net.createServer({allowHalfOpen: true}, (sock) => sock.pipe(sock)).listen(port + 1, '127.0.0.1');
	process.on('SIGTERM', () => process.exit(0));
}

function request(agent, sent, size) {
	return new Promise((resolve, reject) => {
		const req = http.request({host: '127.0.0.1', port, agent, path: '/' + size, method: 'POST',
			headers: {'x-fill': String(size % 10), 'content-length': sent.length}}, (res) => {
			const parts = [];

			res.on('data', (chunk) => parts.push(chunk));
			res.on('error', reject);
			res.on('end', () => {
				const body = Buffer.concat(parts);

				if (res.headers['x-digest'] !== hash(sent))
					reject(new Error(`the server got other bytes (${sent.length})`));
				else if (body.length !== size || hash(body) !== hash(Buffer.alloc(size, String(size % 10))))
					reject(new Error(`wrong body: ${body.length} of ${size}`));
				else
					resolve();
			});
		});
		req.on('error', reject);
		req.end(sent);
	});
}

function echo(data) {
	return new Promise((resolve, reject) => {
		const sock = net.connect({port: port + 1, host: '127.0.0.1', allowHalfOpen: true});
		const parts = [];

		sock.on('error', reject);
		sock.on('data', (chunk) => parts.push(chunk));
		sock.on('end', () => {
			const got = Buffer.concat(parts);

			if (hash(got) === hash(data))
				resolve();
			else
				reject(new Error(`echo: ${got.length} of ${data.length} bytes`));
		});
		sock.end(data);
	});
}

async function client() {
	const keep = new http.Agent({keepAlive: true, maxSockets: 20});
	const close = new http.Agent({keepAlive: false});
	const sizes = [0, 1, 64, 1000, 16384, 65535, 65536, 300000, 1000001];
	const jobs = [];
	let n = 0;

	for (let i = 0; i < 20; i++)
		jobs.push((async () => {
			for (let k = 0; k < 40; k++, n++)
				await request(k % 8 ? keep : close, crypto.randomBytes(sizes[(i + k) % 9]), sizes[(i * 7 + k) % 9]);
		})());
	for (let i = 0; i < 10; i++)
		jobs.push((async () => {
			for (let k = 0; k < 6; k++, n++)
				await echo(crypto.randomBytes(sizes[(i + k) % 9] * 2));
		})());
	await Promise.all(jobs);
	keep.destroy();
	console.log(`${n} exchanges ok`);
}

if (role === 'client') {
	client().catch((e) => { console.error(e); process.exit(1); });
} else if (role === 'cluster' && cluster.isPrimary) {
	const workers = [cluster.fork(), cluster.fork()];
	let left = workers.length;

	cluster.on('exit', () => --left || process.exit(0));
	// killed, and nothing more said to them: a message to a worker that has gone already is an error here
	process.on('SIGTERM', () => workers.forEach((worker) => worker.kill()));
} else {
	serve();
}
