// Proxies that Debian does not have: a client asks the gateway as each of them does, and reads the answer as it would.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { HOST, claims, startGateway, temporary, token } from './world.js';

const place = temporary();
let gateway, identity;

before(async () => {
  gateway = await startGateway(place.folder, 'tax');
  const read = (name) => readFileSync(join(place.folder, name));
  identity = { ca: read('ca.pem'), cert: read('proxy.pem'), key: read('proxy.key') };
});

after(async () => {
  await gateway?.program.stop();
  place.remove();
});

/** One question over HTTPS, with the proxy's certificate. */
function ask(method, path, headers) {
  return new Promise((resolve, reject) => {
    const question = request({ host: '127.0.0.1', port: gateway.port, method, path, headers, agent: false, servername: 'localhost', ...identity }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks).toString() }));
    });
    question.once('error', reject);
    question.end();
  });
}

describe('Traefik ForwardAuth', () => {
  /** pkg/middlewares/auth/forward.go: a GET with the request's fields, hop-by-hop ones left out, and five of its own. */
  const forwardAuth = (method, uri, headers = {}) => ask('GET', '/.gateway/verify', {
    ...headers,
    host: `127.0.0.1:${gateway.port}`,
    'x-forwarded-for': '192.0.2.1',
    'x-forwarded-method': method,
    'x-forwarded-proto': 'https',
    'x-forwarded-host': HOST,
    'x-forwarded-uri': uri,
  });

  test('anything from 200 to 299 passes, with the fields that authResponseHeaders names', async () => {
    const answer = await forwardAuth('GET', '/l2/x?q=1', { authorization: `Bearer ${token(2)}`, 'x-gateway-assertion': 'forged' });
    assert.equal(answer.status, 200, answer.body);
    assert.equal(claims(answer.headers['x-gateway-assertion']).level, 2);
  });

  test('everything else goes to the client as it is', async () => {
    const missing = await forwardAuth('GET', '/l2');
    assert.deepEqual([missing.status, JSON.parse(missing.body).code], [401, 'token_missing']);
    const weak = await forwardAuth('GET', '/l2', { authorization: `Bearer ${token(1)}` });
    assert.match(weak.headers['www-authenticate'], /insufficient_user_authentication.*acr_values="urn:example:level:2 /);
    assert.equal((await forwardAuth('POST', '/l2', { authorization: `Bearer ${token(2)}` })).headers.allow, 'GET, HEAD');
    assert.equal((await forwardAuth('GET', '/open/../l2')).status, 400);
    assert.equal((await forwardAuth('GET', '/open', { 'x-original-uri': '/open' })).status, 400);
  });
});

describe('Envoy ext_authz over HTTP', () => {
  /** The request's own method and host; path_prefix before the path; the fields that allowed_headers names. */
  const extAuthz = (method, path, headers = {}) => ask(method, `/.gateway/verify${path}`, { ...headers, host: HOST, 'content-length': 0 });

  test('200 passes, with the fields that allowed_upstream_headers names', async () => {
    const answer = await extAuthz('GET', '/l2/x?q=1', { authorization: `Bearer ${token(2)}` });
    assert.equal(answer.status, 200, answer.body);
    assert.equal(claims(answer.headers['x-gateway-assertion']).aud, 'tax');
  });

  test('everything else is a refusal', async () => {
    for (const [method, path, level, status] of [
      ['GET', '/l2', 0, 401], ['GET', '/l2', 1, 401], ['DELETE', '/l2', 2, 405], ['GET', '/nowhere', 3, 404],
      ['GET', '/open/%2e%2e/l2', 3, 400], ['GET', '//l2', 3, 400], ['GET', '/../verify/open', 3, 400],
    ]) {
      const answer = await extAuthz(method, path, level ? { authorization: `Bearer ${token(level)}` } : {});
      assert.equal(answer.status, status, `${method} ${path}`);
    }
    const call = await extAuthz('POST', '/l1', { 'content-type': 'application/grpc' });
    assert.equal(call.status, 401, 'a gRPC caller is refused like others');
  });
});

describe('Envoy ext_authz over gRPC', () => {
  let client;

  before(() => {
    const file = new URL('external_auth.proto', import.meta.url).pathname;
    const { envoy } = grpc.loadPackageDefinition(loadSync(file, { keepCase: true, longs: Number, defaults: true, oneofs: true }));
    const { Authorization } = envoy.service.auth.v3;
    client = new Authorization(`localhost:${gateway.port}`, grpc.credentials.createSsl(identity.ca, identity.key, identity.cert));
  });

  after(() => client?.close());

  /** A check with all that Envoy fills in. */
  function check(method, path, headers = {}, more = {}) {
    const peer = (address, port_value) => ({ address: { socket_address: { address, port_value } } });
    const own = { ':method': method, ':path': path, ':authority': HOST, ':scheme': 'https', 'x-forwarded-proto': 'https', 'x-request-id': 'r-1' };
    const http = { id: '1', method, path, host: HOST, scheme: 'https', protocol: 'HTTP/2', size: -1, headers: { ...own, ...headers }, ...more };
    const attributes = {
      source: peer('192.0.2.1', 40000), destination: { ...peer('10.0.0.9', 443), principal: 'portal' },
      request: { time: { seconds: 1, nanos: 2 }, http }, context_extensions: { virtual_host: 'portal' },
    };
    return new Promise((resolve, reject) => {
      client.Check({ attributes }, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  const value = (options, name) => options.find(({ header }) => header.key === name)?.header.value;

  test('OK passes, sets the assertion and removes what the client must not say', async () => {
    const answer = await check('GET', '/l2/x?q=1', { authorization: `Bearer ${token(2)}`, 'x-gateway-assertion': 'forged', 'x-gateway-level': '3' });
    assert.deepEqual([answer.status.code, answer.http_response], [0, 'ok_response']);
    const { headers, headers_to_remove: removed } = answer.ok_response;
    assert.equal(claims(value(headers, 'x-gateway-assertion')).level, 2);
    assert.ok(headers.every(({ append, append_action }) => append.value === false && append_action === 0));
    assert.deepEqual(removed.sort(), ['authorization', 'cookie', 'x-gateway-level']);
  });

  test('a refusal carries status, challenge and body', async () => {
    const answer = await check('GET', '/l2', { authorization: `Bearer ${token(1)}` });
    assert.deepEqual([answer.status.code, answer.http_response], [16, 'denied_response']);
    const { status, headers, body } = answer.denied_response;
    assert.equal(status.code, 401);
    assert.match(value(headers, 'www-authenticate'), /acr_values="urn:example:level:2 urn:example:level:3"/);
    assert.equal(JSON.parse(body).code, 'level_too_low');
    for (const [method, path, wanted] of [['GET', '/nowhere', 404], ['POST', '/l2', 405], ['GET', '/open/../l2', 400], ['GET', '//l2', 400]]) {
      const refused = await check(method, path, { authorization: `Bearer ${token(3)}` });
      assert.equal(refused.denied_response?.status.code, wanted, path);
    }
  });

  test('headers as encode_raw_headers gives them count as well', async () => {
    const raw = (key, text) => ({ key, raw_value: Buffer.from(text) });
    const header_map = { headers: [raw(':path', '/l2'), raw('authorization', `Bearer ${token(2)}`), raw('accept', '*/*')] };
    assert.equal((await check('GET', '/l2', {}, { headers: {}, header_map })).status.code, 0);
    header_map.headers.push(raw('authorization', `Bearer ${token(2)}`));
    assert.equal((await check('GET', '/l2', {}, { headers: {}, header_map })).denied_response.status.code, 400);
  });

  test('a hundred checks on one connection each get their own answer', async () => {
    const levels = Array.from({ length: 100 }, (_, at) => at % 3 + 1);
    const answers = await Promise.all(levels.map((level) => check('GET', '/l2', { authorization: `Bearer ${token(level)}` })));
    assert.deepEqual(answers.map((answer) => answer.status.code), levels.map((level) => (level >= 2 ? 0 : 16)));
  });

  test('a message that is too large is an error, and not a yes', async () => {
    await assert.rejects(check('GET', '/open', { cookie: 'a'.repeat(300_000) }), ({ code }) => code === grpc.status.RESOURCE_EXHAUSTED);
  });
});
