import { assertEquals } from "@std/assert";
import { command } from "./command.ts";
import type { Action } from "./step.ts";
import { spawn, toolPath } from "./spawn.ts";
import { describe, sysctl } from "./step.ts";

const netns = { path: "/run/netns/c1" };

Deno.test("sysctl() writes numbers as text", () => {
  assertEquals(sysctl("net/ipv4/ip_forward", 1), {
    kind: "sysctl",
    key: "net/ipv4/ip_forward",
    value: "1",
  });
});

const lines: readonly (readonly [Action, string])[] = [
  [command("ip", ["link", "del", "dev", "it's"]), "ip link del dev 'it'\\''s'"],
  [
    { kind: "write", path: "/run/x y", text: "a\nb" },
    "printf %s 'a\nb' > '/run/x y'",
  ],
  [{ kind: "remove", path: "/run/x" }, "rm -f /run/x"],
  [{ kind: "mkdir", path: "/run/x" }, "mkdir -p /run/x"],
  [sysctl("net/ipv4/ip_forward", 1), "echo 1 > /proc/sys/net/ipv4/ip_forward"],
  [
    sysctl("net/ipv6/conf/eth0.1/accept_ra", 0, { netns }),
    "nsenter --net=/run/netns/c1 sh -c 'echo 0 > /proc/sys/net/ipv6/conf/eth0.1/accept_ra'",
  ],
  [
    sysctl("net/ipv4/conf/a;b/arp_notify", 1),
    "echo 1 > '/proc/sys/net/ipv4/conf/a;b/arp_notify'",
  ],
];

Deno.test("describe() gives the line a person would type", () => {
  for (const [action, line] of lines) assertEquals(describe(action), line);
});

Deno.test("describe() quotes hostile names for each shell that reads them", async () => {
  const key = "net/ipv4/conf/it's$(id)/arp_notify";
  const text = describe(sysctl(key, 1, { netns })).replace("nsenter --net=/run/netns/c1 ", "");
  const echo = text.replace("echo 1 >", "printf %s");
  const { stdout } = await spawn(toolPath("sh"), ["-c", echo]);
  assertEquals(stdout, `/proc/sys/${key}`);
});
