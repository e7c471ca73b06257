// A person with a browser, with and without JavaScript.
//
// usage: node browser.js BASE FOLDER_FOR_SCREENSHOTS
// It prints what it met as JSON.
import { createHmac } from "node:crypto";
import { chromium } from "playwright-core";

const [base, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const met = {};

// codeOf is what an authenticator app shows (RFC 6238).
function codeOf(secret) {
  const bits = [...secret].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000)));
  const mac = createHmac("sha1", key).update(step).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1000000).padStart(6, "0");
}

async function logIn(page, password) {
  await page.getByLabel("User name").fill("alice");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
}

try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, javaScriptEnabled: false });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  await page.goto(`${base}/app/page?a=1`);
  met.ledTo = page.url().slice(base.length);
  await logIn(page, "wrong");
  met.wrong = await page.getByRole("alert").innerText();
  met.keptName = await page.getByLabel("User name").inputValue();
  await logIn(page, "wonderland");
  await page.waitForURL(`${base}/app/**`);
  met.backAt = page.url().slice(base.length);
  met.page = await page.innerText("body");

  await page.goto(`${base}/account/`);
  await page.getByLabel("What it is for").fill("ci <b>");
  await page.getByRole("button", { name: "Make a token" }).click();
  met.token = await page.locator("code").innerText();
  met.tokens = await page.getByText("ci <b>").count();
  await page.screenshot({ path: `${folder}/account.png`, fullPage: true });

  await page.getByLabel("Password so far").fill("wonderland");
  await page.getByLabel("New password", { exact: true }).fill("alice-in-chains");
  await page.getByLabel("New password again").fill("alice-in-chains");
  await page.getByRole("button", { name: "Change password" }).click();
  met.weak = await page.getByRole("alert").innerText();
  await page.getByLabel("Password so far").fill("wonderland");
  await page.getByLabel("New password", { exact: true }).fill("looking glass");
  await page.getByLabel("New password again").fill("looking glass");
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByRole("alert").waitFor({ state: "detached" });
  met.after = page.url().slice(base.length);

  await page.getByRole("button", { name: "Log out", exact: true }).click();
  met.loggedOut = await page.getByRole("status").innerText();
  await page.goto(`${base}/app/page`);
  met.ledAgain = page.url().slice(base.length);
  await logIn(page, "looking glass");
  await page.waitForURL(`${base}/app/page`);
  await page.goto(`${base}/account/`);
  await page.getByRole("button", { name: "Set up" }).click();
  const secret = await page.locator("code").innerText();
  await page.getByLabel("Code").fill(codeOf(secret));
  await page.screenshot({ path: `${folder}/second.png`, fullPage: true });
  await page.getByRole("button", { name: "Turn on" }).click();
  await page.getByText("Keep these").waitFor();
  const recovery = await page.locator("code").allInnerTexts();
  met.recovery = recovery.length;
  await page.getByRole("button", { name: "Log out", exact: true }).click();
  await page.getByRole("status").waitFor();
  await page.goto(`${base}/app/page`);
  await logIn(page, "looking glass");
  await page.getByLabel("Code").waitFor();
  met.asked = await page.getByRole("heading").innerText();
  await page.getByLabel("Code").fill(recovery[0].toLowerCase());
  await page.screenshot({ path: `${folder}/code.png` });
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL(`${base}/app/page`);
  met.letIn = page.url().slice(base.length);
  met.cookies = (await context.cookies()).toSorted((a, b) => a.name.localeCompare(b.name)).map((c) => [c.name, c.httpOnly && "HttpOnly", c.secure && "Secure", c.sameSite].join(" "));

  for (const colorScheme of ["light", "dark"]) {
    for (const width of [320, 1280]) {
      const other = await browser.newContext({ ignoreHTTPSErrors: true, colorScheme, locale: width === 320 ? "de-DE" : "en-GB", viewport: { width, height: 700 } });
      const login = await other.newPage();
      await login.goto(`${base}/login/`);
      await login.screenshot({ path: `${folder}/login-${colorScheme}-${width}.png` });
      met[`heading ${width}`] = await login.getByRole("heading").innerText();
      met[`overflow ${width}`] = await login.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
      await other.close();
    }
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(met));
