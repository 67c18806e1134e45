// A citizen's day, with a real SSO in front of a real gateway: access tokens come out of an authorization code flow with
// PKCE, and the gateway learns the keys by discovery.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { Gateway, certificates, eventually, startAgency } from './gateway.js';
import { Person } from './person.js';
import { challenge } from './wire.js';
import { signingKey, startSso } from './sso.js';

describe('a real SSO', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'darvazeh-e2e-'));
  let [tls, ca, sso, agency, gateway] = [];

  const person = (user) => new Person({ sso, ca, user });
  const refused = (reply, status, code) => {
    assert.deepEqual([reply.status, reply.headers['x-gateway-error']], [status, code], reply.body);
    assert.equal(JSON.parse(reply.body).code, code);
  };

  before(async () => {
    ({ tls, ca } = certificates(folder));
    sso = await startSso({ tls, key: signingKey('ES256') });
    agency = await startAgency();
    gateway = await Gateway.start({ folder, ca, issuer: sso.issuer, agency: agency.url });
    await gateway.keysAreLoaded();
  });

  after(async () => {
    const code = await gateway?.stop();
    await Promise.all([sso?.stop(), agency?.stop()]);
    rmSync(folder, { recursive: true, force: true });
    assert.equal(code, 0, 'a clean drain');
  });

  test('anyone reads the news, and only the news', async () => {
    assert.equal((await gateway.get('/news')).status, 200);
    const seen = agency.seen;
    const reply = await gateway.get('/insurance/history');
    refused(reply, 401, 'token_missing');
    assert.deepEqual(challenge(reply), { realm: 'public' }); // BE-1
    assert.equal(agency.seen, seen, 'nothing reached the agency');
  });

  test('level 1 to 3 come out of the login, and each opens what it should', async () => {
    const opens = { password: ['/profile'], code: ['/profile', '/insurance'], card: ['/profile', '/insurance', '/pension'] };
    for (const [proof, paths] of Object.entries(opens)) {
      const { access_token: token } = await person().tokens({ proof });
      for (const path of ['/profile', '/insurance', '/pension']) {
        const reply = await gateway.get(path, token);
        if (paths.includes(path)) assert.equal(reply.status, 200, `${proof} ${path}: ${reply.body}`);
        else refused(reply, 401, 'level_too_low');
      }
    }
  });

  test('the agency sees a signed assertion with a pairwise subject, and neither token nor citizen', async () => {
    const { access_token: token } = await person('0012345679').tokens({ proof: 'code' });
    const reply = await gateway.get('/insurance/history?year=1404', token);
    assert.equal(reply.status, 200, reply.body);
    const { path, headers } = JSON.parse(reply.body);
    assert.equal(path, '/insurance/history?year=1404');
    assert.equal(headers.authorization, undefined);
    const jwks = JSON.parse((await gateway.get('/.gateway/jwks.json')).body);
    const { payload } = await jwtVerify(headers['x-gateway-assertion'], createLocalJWKSet(jwks), { audience: 'social-security' });
    assert.equal(payload.level, 2);
    assert.equal(payload.acr, 'urn:example:level:2');
    assert.ok(payload.exp - payload.iat <= 60);
    assert.ok(payload.sub && !JSON.stringify(payload).includes('0012345679'), 'PV-1');
    assert.ok(!gateway.output.includes('0012345679') && !gateway.output.includes(token), 'PV-4');
  });

  test('a challenge leads to a step-up, and the stronger token passes', async () => { // SU-1, AS-10
    const citizen = person();
    const weak = await citizen.tokens({ proof: 'code' });
    const reply = await gateway.get('/pension/change', weak.access_token);
    refused(reply, 401, 'level_too_low');
    const { error, acr_values } = challenge(reply);
    assert.deepEqual([error, acr_values], ['insufficient_user_authentication', 'urn:example:level:3']);
    const strong = await citizen.tokens({ proof: 'card', asked: { acr_values } });
    assert.equal(citizen.logins, 2, 'the SSO asked again');
    assert.equal((await gateway.get('/pension/change', strong.access_token)).status, 200);
  });

  test('a challenge lists every value that would do, the lowest first', async () => { // AS-10
    const { access_token: token } = await person().tokens({ proof: 'password' });
    assert.equal(challenge(await gateway.get('/insurance', token)).acr_values, 'urn:example:level:2 urn:example:level:3');
  });

  test('an old login is refreshed, not replaced', async () => { // AS-7
    const citizen = person();
    const old = await citizen.tokens({ proof: 'code', ago: 3600 });
    assert.equal((await gateway.get('/insurance', old.access_token)).status, 200, 'old is fine where no age is asked');
    const reply = await gateway.get('/payment', old.access_token);
    refused(reply, 401, 'authentication_too_old');
    const { error, max_age } = challenge(reply);
    assert.deepEqual([error, max_age], ['insufficient_user_authentication', '900']);
    const fresh = await citizen.tokens({ proof: 'code', asked: { max_age } });
    assert.equal(citizen.logins, 2);
    assert.equal((await gateway.get('/payment', fresh.access_token)).status, 200);
  });

  test('a scope that was not granted is missed', async () => { // BE-4
    const { access_token: token } = await person().tokens({ proof: 'code', scope: 'openid' });
    const reply = await gateway.get('/insurance', token);
    refused(reply, 403, 'scope_missing');
    assert.deepEqual([challenge(reply).error, challenge(reply).scope], ['insufficient_scope', 'insurance.read']);
  });

  test('an ID token is no access token, and garbage is no token', async () => { // AT-1, BE-3
    const seen = agency.seen;
    const { access_token: token, id_token: identity } = await person().tokens({ proof: 'card' });
    const [head, , signature] = token.split('.');
    const forged = [head, Buffer.from('{"acr":"urn:example:level:3"}').toString('base64url'), signature].join('.');
    for (const bad of [identity, forged, 'garbage', 'not.a.token', `${token}x`]) {
      const reply = await gateway.get('/profile', bad);
      refused(reply, 401, 'token_invalid');
      assert.equal(challenge(reply).error, 'invalid_token');
    }
    assert.equal(agency.seen, seen, 'nothing reached the agency');
  });

  test('new keys at the SSO are followed, and the old ones are dropped', async () => { // JB-10
    const old = await person().tokens({ proof: 'code' });
    assert.equal((await gateway.get('/insurance', old.access_token)).status, 200);
    await sso.stop();
    sso = await startSso({ tls, key: signingKey('RS256'), port: sso.port });
    const { access_token: token } = await person().tokens({ proof: 'code' });
    await eventually('the new key', async () => (await gateway.get('/insurance', token)).status === 200);
    refused(await gateway.get('/insurance', old.access_token), 401, 'token_invalid');
  });

  test('while the SSO is away its last keys serve, over a restart too', async () => {
    const { access_token: token } = await person().tokens({ proof: 'code' });
    assert.equal((await gateway.get('/insurance', token)).status, 200);
    const { port } = sso;
    await sso.stop();
    await gateway.restart();
    await gateway.keysAreLoaded();
    assert.equal((await gateway.get('/insurance', token)).status, 200);
    sso = await startSso({ tls, key: signingKey('ES256'), port });
  });
});
