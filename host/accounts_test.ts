import { assertEquals } from "@std/assert";
import { accountId, parseAccountId } from "./accounts.ts";

const passwd = `root:x:0:0:root:/root:/bin/bash
qemu:x:107:107:qemu user:/:/sbin/nologin
broken:x
+nis::::::
`;

Deno.test("parseAccountId() finds an account by its whole name", () => {
  assertEquals(
    ["root", "qemu", "qem", "x", "broken", "+nis", ""].map((name) => parseAccountId(passwd, name)),
    [0, 107, undefined, undefined, undefined, undefined, undefined],
  );
});

Deno.test("accountId() reads this host's files", () => {
  assertEquals([accountId("user", "root"), accountId("group", "root")], [0, 0]);
  assertEquals(accountId("user", "no such user"), undefined);
});
