import { assert, assertEquals } from "@std/assert";
import { parseRe2 } from "./re2.ts";

function matches(text: string, subject: string): boolean | undefined {
  return parseRe2(text)?.test(subject);
}

Deno.test("parseRe2() reads what both syntaxes share", () => {
  const name = "net.ipv4.conf.all.log_martians";
  assertEquals(matches(String.raw`^net\.ipv4\.conf\.all\.[a-z_]*$`, name), true);
  assertEquals(matches(String.raw`^net\.ipv4\.conf\.other\.[a-z_]*$`, name), false);
  assertEquals(matches("ipv4", name), true);
  assertEquals(matches(String.raw`^net[./](ipv4|ipv6)\W\w+\Wall(?:\.log).{9}$`, name), true);
  assertEquals(matches(String.raw`\x6eet\.\_?ipv[\d]\-?`, name), true);
});

Deno.test("parseRe2() translates what JavaScript writes otherwise", () => {
  assertEquals(matches(String.raw`\Anet\z`, "net"), true);
  assertEquals(matches(String.raw`\Anet\z`, "Anetz"), false);
  assertEquals(matches("(?i)^NET$", "net"), true);
  assertEquals(matches("^(?P<family>ipv[46])$", "ipv6"), true);
  assertEquals(matches("^eth[[:digit:]]+$", "eth12"), true);
  assertEquals(matches("^eth[[:digit:]]+$", "eth:]"), false);
  assertEquals(matches("^[[:alpha:]_]+$", "a_b"), true);
  assertEquals(matches("^[]a]$", "]"), true);
  assertEquals(matches("^[^]a]$", "b"), true);
  assertEquals(matches("^[^]a]$", "]"), false);
  assertEquals(matches(String.raw`^\[:digit:]$`, "[:digit:]"), true);
});

Deno.test("parseRe2() refuses what one of the two does not know, or knows otherwise", () => {
  const bad = [
    "(",
    "a)",
    "[a",
    "*a",
    "a**",
    "(?=a)",
    "(?!a)",
    "(?<=a)",
    "(?<!a)",
    String.raw`(a)\1`,
    String.raw`\Qa.b\E`,
    String.raw`\pL`,
    String.raw`\ya`,
    String.raw`\u0041`,
    String.raw`\x{41}`,
    "a(?i)b",
    "[:alpha:]",
    "[[:^alpha:]]",
    "[[:letters:]]",
    "a\\",
  ];
  for (const text of bad) assert(parseRe2(text) === undefined, text);
});
