// A person with a passkey, in Chromium with its virtual authenticator.
//
// usage: node passkey.js BASE FOLDER_FOR_SCREENSHOTS
// It prints what it met as JSON.
import { chromium } from "playwright-core";

const [base, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const met = {};

try {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(20000);
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });

  await page.goto(`${base}/account/`);
  await page.getByLabel("User name").fill("alice");
  await page.getByLabel("Password").fill("wonderland");
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByLabel("Its name").fill("phone");
  await page.getByRole("button", { name: "Make a passkey" }).click();
  await page.getByText("phone").waitFor();
  met.made = (await cdp.send("WebAuthn.getCredentials", { authenticatorId })).credentials.map((c) => [c.rpId, c.isResidentCredential]);
  await page.screenshot({ path: `${folder}/passkeys.png`, fullPage: true });
  await page.getByRole("button", { name: "Log out", exact: true }).click();
  await page.getByRole("status").waitFor();

  await page.goto(`${base}/app/page`);
  await page.getByRole("button", { name: "Log in with a passkey" }).click();
  await page.waitForURL(`${base}/app/page`);
  met.page = await page.innerText("body");

  await page.goto(`${base}/login/`);
  met.claims = await page.evaluate(async () => {
    const post = async (path, body) => (await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();
    const { ceremony, options } = await post("/api/token/passkey/begin/", {});
    const credential = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey) });
    const answer = { ceremony, credential: credential.toJSON() };
    const pair = await post("/api/token/passkey/finish/", answer);
    const again = await post("/api/token/passkey/finish/", answer);
    const claims = JSON.parse(atob(pair.access.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return { sub: claims.sub, amr: claims.amr, again: again.detail };
  });

  await page.goto(`${base}/account/`);
  await page.getByRole("button", { name: "End: phone" }).click();
  await page.getByText("It has ended.").waitFor();
  await page.getByRole("button", { name: "Log out", exact: true }).click();
  await page.getByText("You are logged out.").waitFor();
  await page.getByRole("button", { name: "Log in with a passkey" }).click();
  met.removed = await page.getByRole("alert").innerText();
  met.errors = errors.filter((text) => !text.startsWith("Failed to load resource")); // of statuses
} finally {
  await browser.close();
}
console.log(JSON.stringify(met));
