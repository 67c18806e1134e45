// One login for every portal, at a real SSO: the gateway is its client, proves itself by a key of its own, and pushes its
// requests. A citizen's browser is played by hand; what a real one makes of the pages is tried in `browser/`.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Citizen } from './citizen.js';
import { eventually, startAgency } from './gateway.js';
import { startPortals } from './portals.js';
import { call } from './wire.js';

const PORTALS = ['portal.tehran.example', 'tamin.example'];

describe('portals behind a real SSO', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'darvazeh-portal-'));
  let [portals, agency, gateway, ca, at] = [];
  const shown = (reply) => {
    assert.equal(reply.status, 200, reply.body);
    const assertion = JSON.parse(reply.body).headers['x-gateway-assertion'];
    return JSON.parse(Buffer.from(assertion.split('.')[1], 'base64url'));
  };

  before(async () => {
    agency = await startAgency();
    portals = await startPortals({ folder, hosts: PORTALS, routes: routes(agency.url) });
    ({ ca, at, gateway } = portals);
  });

  after(async () => {
    const code = await portals?.stop();
    await agency?.stop();
    rmSync(folder, { recursive: true, force: true });
    assert.equal(code, 0, 'a clean drain');
  });

  test('one login opens both portals, and more is asked for only where more is needed', async () => { // RP-1, RP-5, RP-7
    const citizen = new Citizen({ ca, proof: 'code' });
    const first = await citizen.go(at(PORTALS[0], '/l2/history?year=1404'));
    assert.equal(first.url, at(PORTALS[0], '/l2/history?year=1404'));
    assert.equal(shown(first).level, 2);
    assert.equal(citizen.logins, 1);
    const second = await citizen.go(at(PORTALS[1], '/l1/'));
    assert.equal(shown(second).level, 2, 'what came back counts, not what was asked for');
    assert.equal(citizen.logins, 1, 'the second portal asks nobody');
    citizen.proof = 'card';
    const third = await citizen.go(at(PORTALS[0], '/l3/change'));
    assert.equal(shown(third).level, 3);
    assert.equal(citizen.logins, 2, 'the SSO asked for more');
    assert.ok(!gateway.output.includes('0012345679'), 'PV-4');
  });

  test('a logout at one portal ends the other through the SSO', async () => { // RP-9, BL-9, BL-12
    const citizen = new Citizen({ ca, proof: 'code' });
    await citizen.go(at(PORTALS[0], '/l2/'));
    await citizen.go(at(PORTALS[1], '/l1/'));
    const { csrf } = JSON.parse((await citizen.fetch(at(PORTALS[0], '/.gateway/session'))).body);
    const reply = await citizen.request('POST', new URL(at(PORTALS[0], '/.gateway/logout')), `csrf=${csrf}`);
    assert.equal(reply.status, 303);
    const last = await citizen.go(new URL(reply.headers.location, at(PORTALS[0], '/')));
    assert.equal(last.url, at(PORTALS[0], '/.gateway/signed-out'));
    assert.equal((await citizen.fetch(at(PORTALS[0], '/l1/'))).status, 401);
    await eventually('the other portal', async () => (await citizen.fetch(at(PORTALS[1], '/l1/'))).status === 401, 5000);
  });
});

const routes = (agency) => `\
agencies:
  registry:
    title: { fa: سازمان ثبت, en: Registry }
    scope: national
    endpoints: ["${agency}"]
routes:
${[1, 2, 3].map((level) => `\
  - name: l${level}
    agency: registry
    match: { hosts: [${PORTALS.join(', ')}], prefix: /l${level} }
    require: { level: ${level}, via: session }`).join('\n')}
`;
