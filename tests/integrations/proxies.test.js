// Real proxies before a real agency, with the examples of deploy/integrations/ as they stand: what the gateway would refuse
// never reaches the agency, and what reaches it carries the gateway's word and nobody else's.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PROXIES } from './proxies.js';
import { HOST, bearer, claims, send, startAgency, startGateway, temporary, token } from './world.js';

const only = process.env.PROXIES?.split(',');

/** A path as the most generous reader sees it: everything decoded, twice, and every dot segment taken. */
function generous(path) {
  let text = path.split(/[?#]/)[0];
  for (let turn = 0; turn < 3; turn += 1) {
    text = text.replaceAll(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
  const kept = [];
  for (const segment of text.replaceAll('\\', '/').split('/')) {
    const plain = segment.split(';')[0];
    if (plain === '..') kept.pop();
    else if (plain !== '.' && plain !== '') kept.push(plain);
  }
  return `/${kept.join('/')}`;
}

const TRICKS = [
  '/open/../l2', '/open/./../l2', '/open/%2e%2e/l2', '/open/.%2e/l2', '/open/%2E./l2', '//l2', '/open//../l2', '/open%2f..%2fl2',
  '/open/..%2fl2', '/open\\..\\l2', '/open/..\\l2', '/open%5c..%5cl2', '/open/..;/l2', '/open;x/../l2', '/open/%252e%252e/l2',
  '/open/%25%32%65%25%32%65/l2', '/open/%c0%ae%c0%ae/l2', '/open/..%00/l2', '/open/#/../../l2', '/open?/../l2', '/open/..?x',
  '/./l2', '/%6c2', '/l%32', '/L2', '/open/%zz/../l2', `http://${HOST}/l2`, `http://${HOST}/open/../l2`, 'http://other.ir/open', '*',
  '/open/..%c0%af..%c0%afl2', '/l2/', '/l2/x/../../open/../l2', '/open/%2e%2e%2fl2', '/open/\t/../l2',
];

for (const [name, proxy] of Object.entries(PROXIES).filter(([each]) => !only || only.includes(each))) {
  describe(name, () => {
    const place = temporary();
    let agency, gateway, running, port;

    before(async () => {
      agency = await startAgency();
      gateway = await startGateway(place.folder, proxy.agency);
      running = await proxy.start({ folder: place.folder, gateway: gateway.port, backend: agency.port });
      port = running.port;
    });

    after(async () => {
      await running?.program.stop();
      await gateway?.program.stop();
      await agency?.stop();
      place.remove();
    });

    const context = () => `${running.program.output}\n${running.log?.() ?? ''}\n${gateway.program.output}`;

    /** What the agency saw of the one request that `ask` makes; `undefined` when nothing came. */
    async function reaching(ask) {
      const before = agency.seen.length;
      const answer = await ask();
      assert.ok(agency.seen.length <= before + 1);
      return { answer, seen: agency.seen[before] };
    }

    test('BE-1: without a token the client gets our challenge, and the agency nothing', async () => {
      const { answer, seen } = await reaching(() => send(port, '/l1/x'));
      assert.equal(answer.status, 401, context());
      assert.equal(answer.header('www-authenticate'), 'Bearer realm="verdicts"');
      assert.equal(answer.header('x-gateway-error'), 'token_missing');
      assert.equal(seen, undefined);
      if (proxy.whole) assert.equal(JSON.parse(answer.body).code, 'token_missing');
    });

    test('SU-1: a level that is too low gets the step-up challenge', async () => {
      const { answer, seen } = await reaching(() => send(port, '/l2/x', [bearer(token(1))]));
      assert.equal(answer.status, 401);
      const challenge = answer.header('www-authenticate');
      assert.match(challenge, /error="insufficient_user_authentication"/);
      assert.match(challenge, /acr_values="urn:example:level:2 urn:example:level:3"/);
      assert.equal(seen, undefined);
    });

    test('AS-12: a good token passes, and the agency sees our assertion and nothing that was forged', async () => {
      const forged = ['X-Gateway-Assertion: forged', 'X-Gateway-Subject: forged', 'x-gateway-level: 3', 'X_Gateway_Level: forged', 'X-Gateway_Level: f', 'X_Gateway-Subject: f'];
      const { answer, seen } = await reaching(() => send(port, '/l2/x?q=1', [bearer(token(2)), ...forged]));
      assert.equal(answer.status, 200, `${answer.body}\n${context()}`);
      assert.equal(answer.body.includes('the agency'), true);
      assert.deepEqual([seen.method, seen.path], ['GET', '/l2/x?q=1']);
      const ours = seen.fields.filter(([field]) => /^x[-_]gateway/.test(field));
      assert.deepEqual(ours.map(([field]) => field), ['x-gateway-assertion'], JSON.stringify(ours));
      const said = claims(ours[0][1]);
      assert.deepEqual([said.aud, said.level, said.acr], [proxy.agency, 2, 'urn:example:level:2']);
      assert.ok(said.sub && !said.sub.includes('citizen'), 'PV-1: the subject is pairwise');
      assert.ok(!seen.fields.some(([field]) => field === 'authorization'), 'the token is not the agency\'s');
      assert.ok(!JSON.stringify(answer.fields).includes(ours[0][1]), 'the client does not see the assertion');
    });

    test('forged fields of an open path are replaced as well', async () => {
      const { seen } = await reaching(() => send(port, '/open/x', ['X-Gateway-Assertion: forged', 'X-Gateway-Level: 3']));
      const ours = seen.fields.filter(([field]) => /^x[-_]gateway/.test(field));
      assert.deepEqual([ours.length, claims(ours[0][1]).level], [1, 0]);
    });

    test('every other refusal is one to the client', async () => {
      for (const [target, fields, status, method] of [
        ['/nowhere', [], 404, 'GET'],
        ['/l2', [bearer(token(2)), 'Content-Length: 0'], 405, 'POST'],
        ['/l1?access_token=x', [], 400, 'GET'],
        ['/l1', [bearer('x.y.z')], 401, 'GET'],
        ['/l1', ['Content-Type: application/grpc', 'Content-Length: 0'], 401, 'POST'],
        ['/l1', ['Authorization: Basic eDp5'], 401, 'GET'],
      ]) {
        const { answer, seen } = await reaching(() => send(port, target, fields, method));
        assert.deepEqual([answer.status, seen], [status, undefined], `${method} ${target}\n${context()}`);
      }
    });

    test('a rate that is over says when to come back', async () => {
      assert.equal((await send(port, '/rated')).status, 200, context());
      // Whoever the client says it is.
      const { answer, seen } = await reaching(() => send(port, '/rated', ['X-Forwarded-For: 192.0.2.9']));
      assert.deepEqual([answer.status, seen], [429, undefined], context());
      assert.ok(Number(answer.header('retry-after')) > 0);
    });

    test('a body reaches the agency whole, whatever the verdict was asked with', async () => {
      const form = `name=${'x'.repeat(20_000)}`;
      const fields = [bearer(token(1)), 'Content-Type: application/x-www-form-urlencoded', `Content-Length: ${form.length}`];
      const { answer, seen } = await reaching(() => send(port, '/l1/form', fields, 'POST', form));
      assert.deepEqual([answer.status, seen?.method, seen?.body.length], [200, 'POST', form.length], context());
      const head = await reaching(() => send(port, '/l2/x', [bearer(token(2))], 'HEAD'));
      assert.deepEqual([head.answer.status, head.seen.method], [200, 'HEAD'], 'a route for GET takes HEAD');
      const refused = await reaching(() => send(port, '/l1/form', fields.slice(1), 'POST', form));
      assert.deepEqual([refused.answer.status, refused.seen], [401, undefined]);
    });

    test('many at once are each told of their own caller', async () => {
      const levels = Array.from({ length: 60 }, (_, at) => at % 4);
      const before = agency.seen.length;
      const answers = await Promise.all(levels.map((level, at) => (
        send(port, `/l1/${at}`, level ? [bearer(token(level, `citizen-${at}`))] : [])
      )));
      assert.deepEqual(answers.map(({ status }) => status), levels.map((level) => (level ? 200 : 401)), context());
      const seen = agency.seen.slice(before);
      assert.equal(seen.length, levels.filter((level) => level).length);
      const said = seen.map(({ path, fields }) => [path, claims(fields.find(([name]) => name === 'x-gateway-assertion')[1])]);
      for (const [path, { level }] of said) assert.equal(level, levels[Number(path.split('/')[2])], path);
      assert.equal(new Set(said.map(([, { sub }]) => sub)).size, said.length);
      assert.equal(new Set(said.map(([, { jti }]) => jti)).size, said.length);
    });

    test('what the client says about the original request is not believed', async () => {
      for (const told of [
        ['X-Original-URI: /open', 'X-Original-Method: GET', `X-Original-Host: ${HOST}`],
        ['X-Forwarded-Uri: /open', 'X-Forwarded-Method: GET', `X-Forwarded-Host: ${HOST}`],
        ['X_Original_URI: /open'],
        ['X-Original-URL: /open', 'X-Rewrite-URL: /open'],
        ['Connection: close, X-Original-URI, X-Original-Method, X-Original-Host, X-Forwarded-Uri, Authorization'],
      ]) {
        for (const [target, level] of [['/l2', 1], ['/l2', 0], ['/l1', 0]]) {
          const fields = level ? [bearer(token(level)), ...told] : told;
          const { answer, seen } = await reaching(() => send(port, target, fields));
          assert.ok(answer.status >= 400 && seen === undefined, `${target} ${told}: ${answer.status}`);
        }
      }
    });

    test('HP-5: no spelling of a path reaches with a low level what asks for more', async () => {
      for (const trick of TRICKS) {
        for (const fields of [[], [bearer(token(1))]]) {
          const { answer, seen } = await reaching(() => send(port, trick, fields));
          if (seen === undefined) {
            assert.ok(!answer.body.includes('the agency'), trick);
            continue;
          }
          const read = generous(seen.path);
          assert.ok(read === '/open' || read.startsWith('/open/'), `${trick} reached ${seen.path}, which may be read as ${read}`);
        }
      }
    });

    // Last: the gateway is gone after it.
    test('without the gateway nothing passes', async () => {
      await gateway.program.stop();
      const { answer, seen } = await reaching(() => send(port, '/open/x', [bearer(token(3))]));
      assert.ok(answer.status >= 500, String(answer.status));
      assert.equal(seen, undefined);
    });
  });
}
