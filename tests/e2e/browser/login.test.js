// What a citizen with a real browser meets on the way in: signing in once, proving more where more is needed, and losing nothing.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setClock } from '../sso.js';
import { Country, SABT, TAMIN, TEHRAN } from './country.js';

describe('a browser signs in', { concurrency: false }, () => {
  let country;
  const level = (request) => JSON.parse(Buffer.from(request.headers['x-gateway-assertion'].split('.')[1], 'base64url')).level;
  /** Read in a tab of its own: our pages let no script ask for anything. */
  const session = async (browser) => {
    const before = await browser.tab();
    await browser.newTab();
    await browser.go(country.at(TEHRAN, '/.gateway/session'));
    const status = JSON.parse(await browser.run(`return document.querySelector('pre').textContent`));
    await browser.at(before);
    return status;
  };

  before(async () => { country = await Country.start(); });
  afterEach(() => country.farewell());
  after(async () => assert.equal(await country?.stop(), 0, 'a clean drain'));

  test('once, for all portals, and comes back to the very place', async () => { // RP-1, RP-5
    const browser = await country.browser();
    const place = country.at(TEHRAN, '/l1/history?year=1404&q=%D8%B3#row-7');
    await browser.go(place);
    await country.askedToSignIn(browser);
    await browser.picture('sso-sign-in');
    assert.equal(await country.signIn(browser, { password: 'secret' }), place, 'query and fragment are kept');
    assert.equal(await browser.text('#private'), 'پروندهٔ شخصی');
    assert.equal(level(country.seen('GET', '/l1/history').at(-1)), 1);
    assert.equal(await browser.run('return document.cookie'), '', 'no script reads the session');
    const asked = country.sso.asked;
    for (const host of [TAMIN, SABT]) {
      await browser.go(country.at(host, '/l1/?a=b#c'));
      await browser.arrives((url) => url === country.at(host, '/l1/?a=b#c'));
    }
    assert.equal(country.sso.asked, asked, 'the other portals ask nobody');
    assert.ok(country.agency.seen.every(({ headers }) => !headers.cookie?.includes('darvazeh')), 'no cookie crosses');
  });

  test('and without scripts, where only the fragment is lost', async () => {
    const browser = await country.browser();
    await browser.cdp('Emulation.setScriptExecutionDisabled', { value: true });
    await browser.go(country.at(TEHRAN, '/l1/plain?a=b'));
    await browser.arrives((url) => country.isSso(url));
    await browser.cdp('Emulation.setScriptExecutionDisabled', { value: false });
    assert.equal(await country.signIn(browser, { password: 'secret' }), country.at(TEHRAN, '/l1/plain?a=b'));
  });

  test('a link that needs more asks for more, and comes back', async () => { // SU-6, RP-7
    const browser = await country.citizen();
    await browser.go(country.at(TEHRAN, '/l3/account?tab=2#top'));
    await country.askedToSignIn(browser);
    assert.match(await browser.text('#asked'), /level:3/);
    assert.equal(await country.signIn(browser, { card: '1234' }), country.at(TEHRAN, '/l3/account?tab=2#top'));
    assert.equal(level(country.seen('GET', '/l3/account').at(-1)), 3);
    assert.equal((await session(browser)).level, 3);
  });

  test('a step-up that is declined leaves the session as it was', async () => {
    const browser = await country.citizen();
    await browser.go(country.at(TEHRAN, '/l3/account'));
    await country.askedToSignIn(browser);
    await browser.click('[name=cancel]');
    await browser.arrives((url) => url.includes('/.gateway/callback'));
    await browser.refused('login_declined');
    assert.equal((await session(browser)).level, 1);
    await browser.go(country.at(TEHRAN, '/l1/'));
    assert.equal(await browser.title(), 'GET /l1/');
  });

  test('too little twice ends in a page that explains', async () => { // AS-11
    const browser = await country.citizen();
    const asked = country.sso.asked;
    await browser.go(country.at(TEHRAN, '/l3/account'));
    for (const _ of ['asked', 'asked again']) await country.present(browser, { password: 'secret' });
    await browser.refused('unmet_authentication_requirements');
    assert.equal(country.sso.asked, asked + 2);
    assert.equal((await session(browser)).level, 1);
  });

  test('a form that needs more waits, and is sent once', async () => {
    const browser = await country.citizen();
    await browser.click('#pay button');
    await country.askedToSignIn(browser);
    assert.deepEqual(country.seen('POST', '/l3/pay'), [], 'nothing is sent before the step-up');
    await country.signIn(browser, { card: '1234' });
    const text = await browser.text();
    for (const shown of [TEHRAN, '/l3/pay', 'amount', 'note']) assert.ok(text.includes(shown), `${shown} in ${text}`);
    for (const hidden of ['1000', 'سلام']) assert.ok(!text.includes(hidden), `${hidden} in ${text}`);
    await browser.reload();
    assert.equal(await browser.text(), text, 'the page can be loaded again');
    assert.match(await browser.url(), /\/\.gateway\/form\?id=[\w-]+$/, 'no code of the SSO is left in the address');
    assert.deepEqual(country.seen('POST', '/l3/pay'), [], 'nothing is sent before the click');
    await browser.click('main button');
    await browser.arrives((url) => url === country.at(TEHRAN, '/l3/pay?ref=7'));
    assert.equal(await browser.title(), 'POST /l3/pay');
    const [sent, ...more] = country.seen('POST', '/l3/pay');
    assert.deepEqual(more, []);
    assert.equal(sent.path, '/l3/pay?ref=7');
    assert.deepEqual([...new URLSearchParams(sent.body.toString())], [['amount', '1000'], ['note', 'سلام، ۱۲۳']]);
    await browser.back();
    await browser.refused('form_gone');
    assert.equal(country.seen('POST', '/l3/pay').length, 1);
  });

  test('a form with a file waits too', async () => {
    const browser = await country.citizen();
    const scan = join(country.folder, 'scan.bin');
    const bytes = Buffer.from(Array.from({ length: 4096 }, (_, at) => at % 256));
    writeFileSync(scan, bytes);
    await browser.type('[name=scan]', scan);
    await browser.click('#letter button');
    await country.signIn(browser, { card: '1234' });
    await browser.click('main button');
    await browser.arrives((url) => url === country.at(TEHRAN, '/l3/letter'));
    const [sent, ...more] = country.seen('POST', '/l3/letter');
    assert.deepEqual(more, []);
    const form = await new Response(sent.body, { headers: { 'content-type': sent.headers['content-type'] } }).formData();
    assert.equal(form.get('title'), 'نامه');
    assert.deepEqual(Buffer.from(await form.get('scan').arrayBuffer()), bytes);
  });

  test('a script is told where to sign in, and never redirected', async () => { // SU-6
    const browser = await country.browser();
    await browser.go(country.at(TEHRAN, '/open/page?x=1'));
    const before = country.agency.seen.length;
    const reply = await browser.fetch('/l2/data');
    assert.equal(reply.status, 401);
    const problem = JSON.parse(reply.body);
    assert.equal(problem.code, 'login_required');
    assert.equal(country.agency.seen.length, before);
    await browser.go(new URL(problem.login_url, country.at(TEHRAN, '/')).href);
    const back = await country.signIn(browser, { password: 'secret', code: '123456' });
    assert.equal(back, country.at(TEHRAN, '/open/page?x=1'), 'the page that the script ran on');
    assert.equal((await browser.fetch('/l2/data')).status, 200);
    const more = JSON.parse((await browser.fetch('/l3/data')).body);
    assert.deepEqual([more.code, more.status], ['level_too_low', 401]);
    assert.match(more.step_up_url, /^\/\.gateway\/login\?level=3/);
  });

  test('in two tabs at once', async () => {
    const browser = await country.browser();
    const first = await browser.tab();
    await browser.go(country.at(TEHRAN, '/l1/one#a'));
    await country.askedToSignIn(browser);
    const second = await browser.newTab();
    await browser.go(country.at(TEHRAN, '/l1/two#b'));
    await country.askedToSignIn(browser);
    await browser.at(first);
    assert.equal(await country.signIn(browser, { password: 'secret' }), country.at(TEHRAN, '/l1/one#a'));
    await browser.at(second);
    assert.equal(await country.signIn(browser, { password: 'secret' }), country.at(TEHRAN, '/l1/two#b'));
    assert.equal((await session(browser)).signed_in, true);
    await browser.at(first);
    await browser.reload();
    assert.equal(await browser.title(), 'GET /l1/one', 'the first tab goes on with the newer session');
    const left = (await browser.cdp('Network.getAllCookies')).cookies.filter(({ domain }) => domain === TEHRAN);
    assert.deepEqual(left.map(({ name }) => name), ['__Host-darvazeh'], 'nothing of the attempts is left');
  });

  test('too late: the attempt is over, a page says so, and another try works', async () => {
    const browser = await country.browser();
    await browser.go(country.at(TEHRAN, '/l1/late'));
    await country.askedToSignIn(browser);
    // After ten minutes the browser has dropped the attempt's cookie.
    await forget(browser, '__Host-darvazeh-login-');
    await country.signIn(browser, { password: 'secret' });
    await browser.refused('login_expired');
    assert.equal((await session(browser)).signed_in, false);
    await browser.go(country.at(TEHRAN, '/l1/late'));
    await browser.arrives((url) => url === country.at(TEHRAN, '/l1/late'));
  });

  test('an answer that was used is not used again', async () => {
    const browser = await country.browser();
    await browser.go(country.at(TEHRAN, '/l1/'));
    await browser.cdp('Network.enable');
    await country.askedToSignIn(browser);
    const attempt = (await browser.cdp('Network.getAllCookies')).cookies.find(({ name }) => name.startsWith('__Host-darvazeh-login-'));
    await country.signIn(browser, { password: 'secret' });
    await browser.go(country.at(TEHRAN, `/.gateway/callback?state=${attempt.name.slice(22)}&code=used&iss=x`));
    await browser.refused('login_expired');
    assert.equal((await session(browser)).signed_in, true, 'the session is what it was');
  });

  test('a browser that refuses cookies gets a page, and no loop', async () => {
    const exceptions = { [`${TEHRAN},*`]: { setting: 2 } };
    const browser = await country.browser({ prefs: { 'profile.content_settings.exceptions.cookies': exceptions } });
    await browser.go(country.at(TEHRAN, '/l1/'));
    await browser.arrives((url) => url.includes('/.gateway/callback'));
    await browser.refused('login_expired');
    assert.match(await browser.text(), /کوکی/);
    await browser.picture('cookies-refused');
  });

  test('clocks that differ by seconds hinder nobody; by minutes, a page says so', async (t) => {
    t.after(() => setClock(0));
    for (const seconds of [20, -20]) {
      setClock(seconds);
      const browser = await country.citizen();
      assert.equal(await browser.title(), 'GET /l1/', `${seconds} s`);
    }
    // The SSO's answer is of the future, and then it does not take our requests either.
    const browser = await country.browser();
    for (const [seconds, place] of [[45, '/.gateway/callback'], [300, '/.gateway/login']]) {
      setClock(0);
      await browser.go(country.at(TEHRAN, '/l1/'));
      setClock(seconds);
      if (seconds === 300) await browser.go(country.at(TEHRAN, '/l1/'));
      else await country.signIn(browser, { password: 'secret' });
      await browser.arrives((url) => url.includes(place));
      await browser.refused('login_invalid');
      assert.ok(await browser.has('a.action'), 'there is a way to try again');
    }
  });

  test('another portal’s page sends no form in a citizen’s name', async () => { // BF-3
    const browser = await country.citizen();
    await browser.go(country.at(TAMIN, '/open/'));
    await browser.run(`const form = document.querySelector('#pay'); form.action = arguments[0]; form.submit()`, country.at(TEHRAN, '/l1/pay'));
    await browser.arrives((url) => url === country.at(TEHRAN, '/l1/pay'));
    await browser.refused('cross_site');
    assert.deepEqual(country.seen('POST', '/l1/pay'), []);
  });
});

/** Takes the cookies away whose names begin so, as time does. */
async function forget(browser, prefix) {
  const { cookies } = await browser.cdp('Network.getAllCookies');
  const found = cookies.filter(({ name }) => name.startsWith(prefix));
  assert.ok(found.length > 0, `no cookie ${prefix}`);
  for (const { name, domain, path } of found) await browser.cdp('Network.deleteCookies', { name, domain, path });
}
