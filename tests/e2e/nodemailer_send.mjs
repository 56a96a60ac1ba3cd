// Sends three messages by nodemailer over one pooled connection.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { NODEMAILER, PORT, TLS, CA, USER_NAME, PASSWORD, MARK } = process.env;
const nodemailer = createRequire(import.meta.url)(NODEMAILER);
const transport = nodemailer.createTransport({
  host: "localhost",
  port: Number(PORT),
  pool: true,
  maxConnections: 1,
  secure: TLS === "implicit",
  requireTLS: TLS === "starttls",
  ignoreTLS: TLS === "off",
  auth: { user: USER_NAME, pass: PASSWORD },
  tls: { ca: readFileSync(CA) },
  dnsTimeout: 5000,
});
for (let i = 0; i < 3; i++) {
  const info = await transport.sendMail({
    from: "me@example.com",
    to: "to@example.net",
    cc: "cc@example.net",
    subject: `${MARK}-${i}.`,
    text: ".dots\n..\nund Umlaute: äöü\n",
    attachments: [{ filename: "a.bin", content: Buffer.alloc(50_000, i) }],
  });
  if (!info.response.startsWith("250")) throw new Error(info.response);
}
transport.close();
