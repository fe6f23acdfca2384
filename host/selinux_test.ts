import { assertEquals } from "@std/assert";
import { command } from "./command.ts";
import { ActionError } from "./error.ts";
import { fold } from "./fold.ts";
import { underContext } from "./selinux.ts";
import { spawn, toolPath } from "./spawn.ts";

const netns = { path: "/run/netns/c1" };
const context = "system_u:system_r:container_t:s0:c1,c2";

Deno.test("underContext() runs a program from a shell in the program's namespace", () => {
  const cmd = underContext(context, command("ip", ["link", "show"], { netns }));
  assertEquals([cmd.tool, cmd.netns], ["sh", netns]);
  assertEquals(cmd.args.slice(2), ["sh", context, "ip", "link", "show"]);
});

Deno.test("underContext() joins no other step: they keep the plugin's own context", () => {
  const add = command("ip", ["link", "show"], { netns });
  const steps = [underContext(context, add), add, add].map((cmd) => ({ why: "look", do: cmd }));
  assertEquals(fold(steps).map((unit) => unit.steps.length), [1, 2]);
});

Deno.test("underContext() does not run the program where the kernel takes no context", async () => {
  const hostile = `x"; echo run; $(echo run)`;
  const cmd = underContext(hostile, command("cat", ["/proc/self/status"]));
  const output = await spawn(toolPath(cmd.tool), cmd.args);
  assertEquals([output.code, output.stdout], [1, ""]);
  const error = ActionError.fromOutput({ why: "look", do: cmd }, output);
  assertEquals(
    error.message,
    `Cannot look: the kernel does not take SELinux context "${hostile}": ` +
      "SELinux is off, or knows no such context",
  );
  assertEquals(error.reason, "other");
});
