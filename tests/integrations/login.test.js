// People who log in behind proxies that ask: a real SSO (npm oidc-provider), real proxies with TLS and the examples of
// deploy/integrations/. No agency behind them has any OpenID code.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Citizen, NAVIGATION, SCRIPT } from '../e2e/citizen.js';
import { signingKey, startSso } from '../e2e/sso.js';
import { call } from '../e2e/wire.js';
import { PROXIES } from './proxies.js';
import { HOST, certificates, claims, startAgency, startLoginGateway, temporary } from './world.js';

const only = process.env.PROXIES?.split(',');

for (const [name, proxy] of Object.entries(PROXIES).filter(([each]) => !only || only.includes(each))) {
  describe(`${name}, people`, () => {
    const place = temporary();
    let agency, gateway, running, sso, ca;
    const at = (path) => `https://${HOST}:${running.port}${path}`;
    const context = () => `${running.program.output}\n${running.log?.() ?? ''}\n${gateway.program.output}`;

    before(async () => {
      agency = await startAgency();
      const key = signingKey('ES256');
      const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const files = (folder) => ({ cert: readFileSync(join(folder, 'gateway.pem')), key: readFileSync(join(folder, 'gateway.key')) });
      gateway = await startLoginGateway(place.folder, proxy.agency, own.privateKey, async () => {
        sso = await startSso({ tls: files(place.folder), key });
        return sso.issuer;
      });
      ca = readFileSync(join(place.folder, 'ca.pem'));
      running = await proxy.start({ folder: place.folder, gateway: gateway.port, backend: agency.port, tls: true });
      // Now that the portal's port is known, the SSO learns of its client.
      await sso.stop();
      const client = {
        client_id: 'gateway',
        redirect_uris: [at('/.gateway/callback')],
        post_logout_redirect_uris: [at('/.gateway/signed-out')],
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [{ ...own.publicKey.export({ format: 'jwk' }), kid: 'k-1', use: 'sig', alg: 'ES256' }] },
        id_token_signed_response_alg: 'ES256',
      };
      sso = await startSso({ tls: files(place.folder), key, port: sso.port, clients: [client] });
    });

    after(async () => {
      await running?.program.stop();
      await gateway?.program.stop();
      await sso?.stop();
      await agency?.stop();
      place.remove();
    });

    const last = () => {
      const seen = agency.seen.at(-1);
      return { ...seen, all: (field) => seen.fields.filter(([each]) => each === field).map(([, value]) => value) };
    };

    test('RP-1, AS-9: a page leads to the SSO and back, and more is asked for only where more is needed', async () => {
      const citizen = new Citizen({ ca, proof: 'code' });
      citizen.jar(`${HOST}:${running.port}`).set('theme', 'dark');
      const first = await citizen.go(at('/s2/history?year=1404&x=a%20b'));
      assert.equal(first.status, 200, `${first.url} ${first.body}\n${context()}`);
      assert.equal(first.url, at('/s2/history?year=1404&x=a%20b'));
      assert.equal(citizen.logins, 1);
      const said = claims(last().all('x-gateway-assertion')[0]);
      assert.deepEqual([said.aud, said.level], [proxy.agency, 2]);
      assert.deepEqual(last().all('cookie'), ['theme=dark'], 'BF-6: ours do not cross');
      assert.match(String(first.headers['cache-control']), /no-store/);
      assert.ok(!JSON.stringify(last().fields).includes('__Host-'));
      citizen.proof = 'card';
      assert.equal((await citizen.go(at('/s3/change'))).status, 200, context());
      assert.equal(claims(last().all('x-gateway-assertion')[0]).level, 3);
      assert.equal(citizen.logins, 2, 'the SSO asked for more');
      assert.equal((await citizen.go(at('/s2/again'))).status, 200);
      assert.equal(citizen.logins, 2);
      const posted = await citizen.request('POST', new URL(at('/s2/form')), 'a=1');
      assert.deepEqual([posted.status, last().body], [200, 'a=1'], context());
      const before = agency.seen.length;
      const foreign = await citizen.request('POST', new URL(at('/s2/form')), '', { ...SCRIPT, 'sec-fetch-site': 'cross-site' });
      assert.deepEqual([foreign.status, agency.seen.length], [403, before], 'BF-3');
    });

    test('SU-6: a script is told where to log in, and never sent there', async () => {
      const citizen = new Citizen({ ca, proof: 'password' });
      const before = agency.seen.length;
      const reply = await citizen.fetch(at('/s1/data'));
      assert.deepEqual([reply.status, reply.headers.location], [401, undefined], context());
      assert.match(reply.headers['www-authenticate'], /^Bearer realm="verdicts"$/);
      assert.equal(reply.headers['x-gateway-login'], '/.gateway/login?level=1');
      if (proxy.tells !== false) {
        assert.equal(reply.headers['content-type'], 'application/problem+json');
        const problem = JSON.parse(reply.body);
        assert.deepEqual([problem.code, problem.login_url], ['login_required', '/.gateway/login?level=1']);
      }
      assert.equal(agency.seen.length, before);
      assert.equal((await citizen.go(at(`${reply.headers['x-gateway-login']}&to=/s1/data`))).status, 200, context());
      assert.equal((await citizen.fetch(at('/s1/data'))).status, 200);
      const weak = await citizen.fetch(at('/s3/data'));
      assert.equal(weak.headers['x-gateway-login'], '/.gateway/login?level=3');
      assert.match(weak.headers['www-authenticate'], /insufficient_user_authentication/);
    });

    test('RP-9: the portal signs out through its own proxy', async () => {
      const citizen = new Citizen({ ca, proof: 'code' });
      await citizen.go(at('/s1/'));
      const { csrf, level } = JSON.parse((await citizen.fetch(at('/.gateway/session'))).body);
      assert.equal(level, 2);
      const reply = await citizen.request('POST', new URL(at('/.gateway/logout')), `csrf=${csrf}`);
      assert.equal(reply.status, 303, `${reply.body}\n${context()}`);
      const left = await citizen.go(new URL(reply.headers.location, at('/')));
      assert.equal(left.url, at('/.gateway/signed-out'));
      assert.equal((await citizen.fetch(at('/s1/'))).status, 401);
    });

    test('nobody reaches the verdicts through the proxy', async () => {
      const citizen = new Citizen({ ca, proof: 'card' });
      await citizen.go(at('/s3/'));
      const before = agency.seen.length;
      const told = { 'x-original-method': 'GET', 'x-original-host': HOST, 'x-original-uri': '/s3/x' };
      for (const path of [
        '/.gateway/verify', '/.gateway/verify/s3/x', '/.gateway/%76erify', '/.gateway/login/../verify', '/.gateway/Verify', '/.gateway',
        '/.gateway//verify', '//.gateway/verify', '/.gateway/login%2f..%2fverify', '/.gateway/session/', '/.%67ateway/verify',
      ]) {
        const cookie = citizen.cookie(`${HOST}:${running.port}`);
        const reply = await call(at('/'), { path, headers: { ...SCRIPT, ...told, cookie }, ca });
        assert.ok(reply.status >= 400, `${path}: ${reply.status}`);
        assert.ok(!('x-gateway-assertion' in reply.headers), path);
      }
      assert.equal(agency.seen.length, before);
    });
  });

  // A real gateway sets several only when tokens are large and just renewed: one that says so on cue takes its place.
  describe(`${name}, sessions in cookies`, () => {
    const place = temporary();
    let agency, running, server;

    before(async () => {
      agency = await startAgency({ 'Set-Cookie': 'theirs=1' });
      certificates(place.folder);
      const file = (each) => readFileSync(join(place.folder, each));
      server = createServer({ cert: file('gateway.pem'), key: file('gateway.key') }, (_, response) => {
        const cookies = [`__Host-darvazeh=${'a'.repeat(3800)}; Path=/; Secure; SameSite=Lax`, `__Host-darvazeh.1=${'b'.repeat(900)}; Path=/; Secure`];
        response.writeHead(200, {
          'X-Request-Id': '1', 'Cache-Control': 'private, no-store', 'X-Gateway-Assertion': 'x'.repeat(600), Cookie: 'theme=dark',
          'Set-Cookie': cookies, 'X-Set-Cookie-1': cookies[0], 'X-Set-Cookie-2': cookies[1],
        });
        response.end();
      });
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
      running = await proxy.start({ folder: place.folder, gateway: server.address().port, backend: agency.port, tls: true });
    });

    after(async () => {
      await running?.program.stop();
      await new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
      await agency?.stop();
      place.remove();
    });

    test('each reaches the browser, beside the portal\'s own, and none reaches the portal', async () => {
      const ca = readFileSync(join(place.folder, 'ca.pem'));
      const cookie = `theme=dark; __Host-darvazeh=${'c'.repeat(3800)}; __Host-darvazeh.1=${'d'.repeat(3800)}; __Host-darvazeh.2=${'e'.repeat(3800)}`;
      const reply = await call(`https://${HOST}:${running.port}/s1`, { headers: { ...NAVIGATION, cookie }, ca });
      assert.equal(reply.status, 200, `${reply.body}\n${running.program.output}\n${running.log?.() ?? ''}`);
      const set = (reply.headers['set-cookie'] ?? []).map((line) => [line.split('=')[0], line.split(';')[0].length]);
      assert.deepEqual(set.sort(), [['__Host-darvazeh', 3816], ['__Host-darvazeh.1', 918], ['theirs', 8]]);
      const seen = agency.seen.at(-1).fields;
      assert.deepEqual(seen.filter(([each]) => each === 'cookie').map(([, value]) => value), ['theme=dark']);
      assert.ok(!seen.some(([each]) => each.includes('set-cookie')));
      assert.match(String(reply.headers['cache-control']), /private, no-store/);
    });
  });
}
