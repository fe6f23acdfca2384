import { assertEquals, assertMatch } from "@std/assert";
import { bootId, machineId } from "./machine_id.ts";

Deno.test("machineId() is absent where the file is missing, empty or cannot be read", () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/machine-id`;
  assertEquals(machineId(path), undefined);
  assertEquals(machineId(dir), undefined);
  Deno.writeTextFileSync(path, "\n");
  assertEquals(machineId(path), undefined);
  Deno.writeTextFileSync(path, "0123456789abcdef0123456789abcdef\n");
  assertEquals(machineId(path), "0123456789abcdef0123456789abcdef");
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("bootId() is the same within a boot", () => {
  assertMatch(bootId(), /^[0-9a-f-]{36}$/);
  assertEquals(bootId(), bootId());
});
