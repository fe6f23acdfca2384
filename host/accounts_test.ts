import { assertEquals } from "@std/assert";
import { accountNumber, numberIn } from "./accounts.ts";

const passwd = `root:x:0:0:root:/root:/bin/bash
qemu:x:107:107:qemu user:/:/sbin/nologin
broken:x
+nis::::::
`;

Deno.test("numberIn() finds an account by its whole name", () => {
  assertEquals(
    ["root", "qemu", "qem", "x", "broken", "+nis", ""].map((name) => numberIn(passwd, name)),
    [0, 107, undefined, undefined, undefined, undefined, undefined],
  );
});

Deno.test("accountNumber() reads this host's files", () => {
  assertEquals([accountNumber("user", "root"), accountNumber("group", "root")], [0, 0]);
  assertEquals(accountNumber("user", "no such user"), undefined);
});
