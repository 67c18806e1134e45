// What a citizen with a real browser meets on the way out: everything ends everywhere, and nothing is left to be seen.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { eventually } from '../gateway.js';
import { Country, TAMIN, TEHRAN } from './country.js';

describe('a browser signs out', { concurrency: false }, () => {
  let country;
  /** From the gateway's question to the page that says it is done. */
  const signOut = async (browser, host = TEHRAN) => {
    await browser.go(country.at(host, '/.gateway/logout'));
    await browser.click('main button');
    await browser.arrives((url) => country.isSso(url));
    await browser.click('button[name=logout]');
    await browser.arrives((url) => url === country.at(host, '/.gateway/signed-out'));
  };
  const isPrivate = async (browser) => (await browser.text()).includes('پروندهٔ شخصی');

  before(async () => { country = await Country.start(); });
  afterEach(() => country.farewell());
  after(async () => assert.equal(await country?.stop(), 0, 'a clean drain'));

  test('everywhere, after being asked', async () => { // RP-9, BL-9
    const browser = await country.citizen();
    await browser.go(country.at(TAMIN, '/l1/'));
    await browser.arrives((url) => url === country.at(TAMIN, '/l1/'));
    await browser.go(country.at(TEHRAN, '/.gateway/logout'));
    await browser.click('a.plain');
    await browser.go(country.at(TEHRAN, '/l1/'));
    assert.ok(await isPrivate(browser), 'who stays, stays');
    await signOut(browser);
    const { cookies } = await browser.cdp('Network.getAllCookies');
    assert.deepEqual(cookies.filter(({ domain }) => domain === TEHRAN), []);
    const asked = country.sso.asked;
    for (const host of [TEHRAN, TAMIN]) {
      await browser.go(country.at(host, '/open/'));
      await eventually(host, async () => (await browser.fetch('/l1/')).status === 401, 5000);
      await browser.go(country.at(host, '/l1/'));
      await country.askedToSignIn(browser);
    }
    assert.equal(country.sso.asked, asked + 2, 'the SSO knows nobody any more');
  });

  test('and the back button shows nothing', async () => {
    const browser = await country.citizen();
    await browser.click('#next');
    assert.ok(await isPrivate(browser));
    const read = country.seen('GET', '/l1/').length;
    await signOut(browser);
    for (let step = 0; step < 6; step += 1) {
      await browser.back();
      assert.ok(!await isPrivate(browser), `${await browser.url()} is shown`);
    }
    assert.equal(country.seen('GET', '/l1/').length, read, 'nothing of it was asked for again');
  });

  test('at one portal, and the back button at the other shows nothing', async () => {
    const browser = await country.citizen();
    const first = await browser.tab();
    // A page that shows who is signed in. One that asks for nothing may be shown from memory for some minutes (docs/login.md).
    await browser.go(country.at(TEHRAN, '/l1/who'));
    await browser.arrives(() => browser.run('return document.body.dataset.level === "1"'));
    assert.ok(await isPrivate(browser));
    await browser.go(country.at(TEHRAN, '/open/'));
    await browser.newTab();
    await browser.go(country.at(TAMIN, '/l1/'));
    await browser.arrives((url) => url === country.at(TAMIN, '/l1/'));
    await signOut(browser, TAMIN);
    await browser.at(first);
    await eventually(TEHRAN, async () => (await browser.fetch('/l1/')).status === 401, 5000);
    await browser.back();
    await country.askedToSignIn(browser);
  });
});
