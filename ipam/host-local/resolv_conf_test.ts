import { assertEquals } from "@std/assert";
import { parseResolvConf } from "./resolv_conf.ts";

Deno.test("name servers, with white space before them", () => {
  assertEquals(parseResolvConf("\n\tnameserver 192.0.2.0\n\tnameserver 192.0.2.1\n"), {
    nameservers: ["192.0.2.0", "192.0.2.1"],
  });
});

Deno.test("comments and lines without a value are passed over", () => {
  const text = "nameserver 192.0.2.0\n;nameserver 192.0.2.1\n# search x\nnameserver\nsortlist 1\n";
  assertEquals(parseResolvConf(text), { nameservers: ["192.0.2.0"] });
});

Deno.test("a whole file: lists go on over lines, the last domain counts", () => {
  const text = `
nameserver 192.0.2.0
nameserver 192.0.2.1 ignored
domain example.net
search example.net example.com
search example.org
options timeout:1 attempts:2
domain example.com
options rotate
options inet6
`;
  assertEquals(parseResolvConf(text), {
    nameservers: ["192.0.2.0", "192.0.2.1"],
    domain: "example.com",
    search: ["example.net", "example.com", "example.org"],
    options: ["timeout:1", "attempts:2", "rotate", "inet6"],
  });
});

Deno.test("nothing in it gives nothing", () => {
  assertEquals(parseResolvConf(""), {});
});
