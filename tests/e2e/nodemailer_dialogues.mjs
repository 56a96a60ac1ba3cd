// Sends by nodemailer in each of its ways to an smtp-server of its makers, at PORT or, where PROXY is
// given, through it. Prints what the client said and heard, what the server made of it, and the errors.
import { createRequire } from "node:module";

const { NODE_MODULES, PORT, PROXY, LMTP } = process.env;
const load = createRequire(NODE_MODULES + "/");
const nodemailer = load("nodemailer");
const { SMTPServer } = load("smtp-server");
const told = [];
const tell = (...words) => told.push(words.map(String).join(" ").replace(/\r?\n/g, "\\n"));
const tidy = (text) => String(text).replace(/localhost|127\.0\.0\.1|\[::1\]/g, "HOST").replace(/:\d{4,5}/g, ":PORT");

const server = new SMTPServer({
  name: "server.test",
  banner: "here",
  lmtp: Boolean(LMTP),
  size: 200_000,
  authMethods: ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"],
  authOptional: true,
  allowInsecureAuth: true,
  hideSTARTTLS: true,
  disableReverseLookup: true,
  enableTrace: false,
  onAuth(auth, session, callback) {
    tell("auth", auth.method, auth.username, auth.accessToken);
    const good = auth.username === "user" && (auth.password === "secret" || auth.accessToken === "token" ||
      auth.validatePassword?.("secret"));
    if (good) callback(null, { user: 1 });
    else if (auth.method === "XOAUTH2") callback(null, { data: { status: "401", schemes: "bearer" } });
    else callback(new Error("no such user"));
  },
  onMailFrom(address, session, callback) {
    tell("from", JSON.stringify(address));
    callback(/refused/.test(address.address) ? Object.assign(new Error("sender refused"), { responseCode: 551 })
      : null);
  },
  onRcptTo(address, session, callback) {
    tell("to", JSON.stringify(address));
    callback(/later/.test(address.address) ? Object.assign(new Error("not now"), { responseCode: 451 }) : null);
  },
  onData(stream, session, callback) {
    let size = 0;
    const parts = [];
    stream.on("data", (part) => { size += part.length; parts.push(part); });
    stream.on("end", () => {
      const text = Buffer.concat(parts).toString("latin1");
      tell("data", size, stream.sizeExceeded, JSON.stringify(text.slice(0, 3000)));
      if (stream.sizeExceeded) callback(Object.assign(new Error("too big"), { responseCode: 552 }));
      else if (LMTP) callback(null, session.envelope.rcptTo.map((to, i) =>
        i % 2 ? Object.assign(new Error("<" + to.address + "> no"), { responseCode: 450 }) : "<" + to.address + "> ok"));
      else callback(null, "taken as 1");
    });
  },
});
server.on("error", (problem) => tell("server error", tidy(problem.message)));
await new Promise((done) => server.listen(Number(PORT), "127.0.0.1", done));

// What goes over the wire, as nodemailer's own log has it.
const logger = Object.fromEntries(["trace", "debug", "info", "warn", "error", "fatal"].map((level) =>
  [level, (entry, message, ...rest) => {
    if (["client", "server"].includes(entry?.tnx)) tell(entry.tnx, tidy(message).replace(/%s/g, () => rest.shift()));
  }]));
const common = { from: "me@example.com", to: "to@example.net", messageId: "<id@example.com>",
  date: new Date(0), subject: "hello", text: ".dot\n..two\n\nend" };
const cases = {
  plain: [{}, common],
  several: [{}, { ...common, to: ["a@example.net", "b@example.net", "c@example.net"] }],
  partly: [{}, { ...common, to: ["a@example.net", "later@example.net"] }],
  nobody: [{}, { ...common, to: "later@example.net" }],
  refused: [{}, { ...common, from: "refused@example.com" }],
  utf8: [{}, { ...common, from: "ich@münchen.example", to: "grüße@example.net" }],
  dsn: [{}, { ...common, dsn: { id: "x y", return: "headers", notify: ["failure", "delay"], recipient: "me@example.com" } }],
  big: [{}, { ...common, text: "x".repeat(70) + "\n", attachments: [{ filename: "a", content: Buffer.alloc(300_000, 7) }] }],
  size: [{}, { envelope: { from: "me@example.com", to: "to@example.net", size: 999_999 }, raw: "Subject: x\r\n\r\nbody" }],
  eightbit: [{}, { ...common, text: "Grüße", textEncoding: "8bit", use8BitMime: true,
    envelope: { from: "me@example.com", to: "to@example.net", use8BitMime: true } }],
  authPlain: [{ auth: { user: "user", pass: "secret" }, authMethod: "PLAIN" }, common],
  authLogin: [{ auth: { user: "user", pass: "secret" }, authMethod: "LOGIN" }, common],
  authCram: [{ auth: { user: "user", pass: "secret" }, authMethod: "CRAM-MD5" }, common],
  authOauth: [{ auth: { type: "OAuth2", user: "user", accessToken: "token" } }, common],
  authWrong: [{ auth: { user: "user", pass: "wrong" }, authMethod: "PLAIN" }, common],
  authOauthWrong: [{ auth: { type: "OAuth2", user: "user", accessToken: "wrong" } }, common],
  pooled: [{ pool: true, maxConnections: 1 }, common, common, common],
};
for (const [name, [options, ...mails]] of Object.entries(cases)) {
  if (LMTP && name === "several") continue; // of each recipient there is a reply: nodemailer's LMTP has one only
  tell("==", name);
  const transport = nodemailer.createTransport({ host: "127.0.0.1", port: Number(PROXY || PORT), name: "client.test",
    ignoreTLS: true, lmtp: Boolean(LMTP), logger, debug: true, connectionTimeout: 20_000, greetingTimeout: 20_000,
    socketTimeout: 20_000, ...options });
  for (const mail of mails) {
    try {
      const sent = await transport.sendMail({ ...mail });
      tell("sent", sent.response, JSON.stringify([sent.accepted, sent.rejected, sent.envelope]));
    } catch (problem) {
      tell("failed", problem.code, problem.responseCode, tidy(problem.message), problem.command);
    }
  }
  transport.close();
}
await new Promise((done) => server.close(done));
console.log(told.join("\n"));
