import { assertEquals } from "@std/assert";
import { parseIpJson } from "./ip_json.ts";

Deno.test("parseIpJson() reads a list; nothing is an empty one", () => {
  assertEquals(parseIpJson('[{"ifname":"lo"}]\n'), [{ ifname: "lo" }]);
  for (const text of ["", "\n", "[]", "[ ]\n"]) assertEquals(parseIpJson(text), []);
});

Deno.test("parseIpJson() reads names that iproute2 does not write as JSON", () => {
  const read = (name: string) =>
    parseIpJson<{ ifname: string }>(`[{"ifname":"${name}"}]`)[0]!.ifname;
  assertEquals(read("a\x01b\x1f"), "a\x01b\x1f");
  assertEquals(read("it\\'s"), "it's");
  assertEquals(read("it's"), "it's");
});

Deno.test("parseIpJson() leaves escapes of JSON alone", () => {
  const names = ['c"d\\e', "back\\'slash", "é\t\n", "\\u0041"];
  assertEquals(parseIpJson<string>(JSON.stringify(names)), names);
});
