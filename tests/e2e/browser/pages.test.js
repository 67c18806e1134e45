// Every page of the gateway's own, as a citizen's browser shows it: in both languages, on a narrow screen, enlarged, dark, by
// keyboard alone, and judged by axe-core.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { call } from '../wire.js';
import { Country, TAMIN, TEHRAN } from './country.js';
import { overflowing, violations } from './judge.js';
import { KEY } from './webdriver.js';

const DIRECTION = { fa: 'rtl', en: 'ltr' };

for (const language of ['fa', 'en']) {
  describe(`the gateway's pages in ${language}`, { concurrency: false }, () => {
    let [country, browser] = [];
    /** Goes to a page that the gateway answers itself, and expects this code. */
    const error = async (url, expected) => {
      await browser.go(url);
      await browser.refused(expected);
    };

    before(async () => {
      country = await Country.start();
      browser = await country.browser({ language });
    });
    after(async () => assert.equal(await country?.stop(), 0, 'a clean drain'));

    /** What holds for each of them. */
    const holds = async (name) => {
      const { lang, dir } = await browser.run(`const { lang, dir } = document.documentElement; return { lang, dir }`);
      assert.deepEqual({ lang, dir }, { lang: language, dir: DIRECTION[language] });
      const start = await browser.run(`return getComputedStyle(document.querySelector('h1')).textAlign`);
      assert.ok(['start', language === 'fa' ? 'right' : 'left'].includes(start));
      await browser.run(`document.querySelector('details')?.setAttribute('open', '')`);
      for (const scheme of ['light', 'dark']) {
        await browser.cdp('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
        assert.deepEqual(await violations(browser), [], `${name}, ${scheme}`);
      }
      await browser.cdp('Emulation.setEmulatedMedia', { features: [] });
      // WCAG 2.2: 1.4.10 a narrow screen, 1.4.4 text twice as large, and both; a zoom of 200 % halves the width.
      for (const [width, scale, text] of [[320, 1, 100], [640, 2, 100], [640, 1, 200], [320, 1, 200]]) {
        await browser.resize(width, 800, scale);
        await browser.run(`document.documentElement.style.fontSize = arguments[0]`, `${text}%`);
        assert.deepEqual(await overflowing(browser), [], `${name} at ${width} px, text ${text} %`);
        if (text === 100) await browser.picture(`${language}-${name}-${width}`);
      }
      await browser.run(`document.documentElement.style.fontSize = ''`);
      await browser.resize(1280, 900);
      await browser.picture(`${language}-${name}`);
    };

    /** Tabs through everything that can be done on a page; each has a focus to be seen. Returns what was reached. */
    const tabbed = async () => {
      const all = await browser.run(`return document.querySelectorAll('a[href], button, input:not([type=hidden]), summary').length`);
      const reached = [];
      for (let step = 0; step < all; step += 1) {
        await browser.press(KEY.tab);
        const at = await browser.run(`const at = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(at);
          const { height, width } = at.getBoundingClientRect();
          return { what: at.localName + (at.className && '.' + at.className.split(' ').join('.')), outlineStyle,
            outline: parseFloat(outlineWidth), height, width };`);
        assert.equal(at.outlineStyle, 'solid', `no focus is seen on ${at.what}`);
        assert.ok(at.outline >= 2, at.what);
        // 2.5.8: large enough to hit, or a link in a line of text.
        assert.ok(at.height >= 24 || at.what === 'a', `${at.what} is ${at.height} px high`);
        reached.push(at.what);
      }
      assert.equal(new Set(reached).size > 0, all > 0);
      return reached;
    };

    test('judged by what finds faults', async () => {
      await browser.go(country.at(TEHRAN, '/open/'));
      assert.ok((await violations(browser)).some((fault) => fault.startsWith('label: ')));
      await browser.resize(100, 800);
      assert.notDeepEqual(await overflowing(browser), []);
      await browser.resize(1280, 900);
    });

    test('errors', async () => {
      await error(country.at(TEHRAN, '/nothing'), 'route_unknown');
      await holds('route-unknown');
      await tabbed();
      await error(country.at(TEHRAN, '/broken/'), 'connect_failed');
      await holds('connect-failed');
      await error(country.at(TEHRAN, '/open/%2e%2e%2fx'), 'path_ambiguous');
      await holds('path-ambiguous');
    });

    test('the step before the SSO', async () => {
      const [url, headers] = [country.at(TEHRAN, '/.gateway/login?level=1'), { 'sec-fetch-mode': 'navigate', 'accept-language': language }];
      const { body } = await call(url, { headers, ca: country.ca });
      // It goes on by itself: shown without what makes it.
      const still = body.replace(/<script>.*?<\/script>/s, '').replace(/<noscript>.*?<\/noscript>/s, '');
      await browser.go('about:blank');
      const { frameTree } = await browser.cdp('Page.getFrameTree');
      await browser.cdp('Page.setDocumentContent', { frameId: frameTree.frame.id, html: still });
      await holds('going');
      assert.deepEqual(await tabbed(), ['a.action']);
    });

    test('a form without a session, and one that is too large to be kept', async () => {
      await browser.go(country.at(TEHRAN, '/open/'));
      await browser.run(`document.querySelector('#pay').action = '/l1/pay'`);
      await browser.click('#pay button');
      await browser.refused('login_required');
      await holds('login-required');
      // By keyboard from here to the portal.
      await browser.press(KEY.tab, KEY.enter);
      await country.askedToSignIn(browser);
      await browser.press(...'0012345679', KEY.tab, ...'secret', KEY.enter);
      await browser.arrives((at) => at === country.at(TEHRAN, '/l1/pay'));
      await browser.run(`document.querySelector('textarea').value = 'x'.repeat(300000)`);
      await browser.click('#pay button');
      await browser.refused('level_too_low');
      await holds('level-too-low');
      assert.equal((await tabbed())[0], 'a.action');
    });

    test('a form of another site', async () => {
      await browser.go(country.at(TAMIN, '/open/'));
      await browser.run(`document.querySelector('#pay').action = arguments[0]`, country.at(TEHRAN, '/l1/pay'));
      await browser.click('#pay button');
      await browser.refused('cross_site');
      await holds('cross-site');
    });

    test('a step-up that is declined, too little, too late or not to be believed', async () => {
      await browser.go(country.at(TEHRAN, '/l3/'));
      await country.askedToSignIn(browser);
      await browser.click('[name=cancel]');
      await browser.refused('login_declined');
      await holds('login-declined');
      await browser.press(KEY.tab, KEY.enter);
      await country.askedToSignIn(browser);
      for (const _ of ['asked', 'asked again']) await country.present(browser, { password: 'secret' });
      await browser.refused('unmet_authentication_requirements');
      await holds('unmet');
      await error(country.at(TEHRAN, '/.gateway/callback?state=unknown&code=x'), 'login_expired');
      await holds('login-expired');
    });

    test('a form that waits, by keyboard', async () => {
      await browser.go(country.at(TEHRAN, '/l1/'));
      await browser.click('#pay button');
      await country.signIn(browser, { card: '1234' });
      await holds('form-waits');
      assert.deepEqual(await tabbed(), ['button.action', 'a.action.plain']);
      await browser.reload();
      await browser.press(KEY.tab, KEY.enter);
      await browser.arrives((url) => url === country.at(TEHRAN, '/l3/pay?ref=7'));
      assert.equal(country.seen('POST', '/l3/pay').length, 1);
      await browser.back();
      await browser.refused('form_gone');
      await holds('form-gone');
    });

    test('the way out, by keyboard', async () => {
      await browser.go(country.at(TEHRAN, '/.gateway/logout'));
      await holds('logout');
      assert.deepEqual(await tabbed(), ['button.action', 'a.action.plain']);
      await browser.reload();
      await browser.press(KEY.tab, KEY.enter);
      await browser.arrives((url) => country.isSso(url));
      await browser.click('button[name=logout]');
      await browser.arrives((url) => url === country.at(TEHRAN, '/.gateway/signed-out'));
      await holds('signed-out');
      await browser.go(country.at(TEHRAN, `/.gateway/frontchannel-logout?iss=${encodeURIComponent(country.sso.issuer)}&sid=x`));
      await holds('signed-out-in-a-frame');
    });
  });
}
