import { assertEquals, assertThrows } from "@std/assert";
import { command } from "./command.ts";
import { ActionError, isTolerated } from "./error.ts";
import type { Output } from "./spawn.ts";
import type { Action, Step } from "./step.ts";

const action = command("ip", ["link", "add", "name", "br0", "type", "bridge"], {
  netns: { path: "/run/netns/c1" },
});

function failed(output: Partial<Output>): ActionError {
  const ended = { code: 2, signal: null, stdout: "", stderr: "", ...output };
  return ActionError.fromOutput({ why: 'create bridge "br0"', do: action }, ended);
}

Deno.test("ActionError.fromOutput() says what could not be done, and why", () => {
  const error = failed({ stderr: "RTNETLINK answers: File exists\nCommand failed -:1\n" });
  assertEquals(error.message, 'Cannot create bridge "br0": RTNETLINK answers: File exists');
  assertEquals(error.reason, "exists");
  assertEquals(
    error.details,
    "command: nsenter --net=/run/netns/c1 ip link add name br0 type bridge; exit status 2; " +
      "stderr: RTNETLINK answers: File exists\nCommand failed -:1",
  );
});

Deno.test("ActionError.fromOutput() of a silent program says how it ended", () => {
  assertEquals(failed({}).message, 'Cannot create bridge "br0": exit status 2');
  const killed = failed({ code: 137, signal: "SIGKILL" });
  assertEquals(killed.message, 'Cannot create bridge "br0": killed by SIGKILL');
  assertEquals(killed.reason, "other");
});

Deno.test("ActionError.fromSystem() classifies what Deno throws", () => {
  const write: Action = { kind: "write", path: "/run/x", text: "" };
  const of = (error: unknown) => ActionError.fromSystem('write "/run/x"', write, error);
  assertEquals(of(new Deno.errors.NotFound("gone")).reason, "missing");
  assertEquals(of(new Deno.errors.AlreadyExists("there")).reason, "exists");
  assertEquals(of(new Deno.errors.PermissionDenied("no")).reason, "denied");
  const full = of(new Error("No space left on device (os error 28)"));
  assertEquals(full.reason, "full");
  assertEquals(full.message, 'Cannot write "/run/x": No space left on device (os error 28)');
  assertEquals(full.details, "action: printf %s '' > /run/x");
  const error = assertThrows(() => Deno.readTextFileSync("/no/such/file"));
  assertEquals(of(error).reason, "missing");
});

Deno.test("isTolerated() wants one of the step's reasons", () => {
  const step: Step = { why: "", do: action, tolerate: ["exists", "missing"] };
  assertEquals(isTolerated(step, failed({ stderr: "File exists" })), true);
  assertEquals(isTolerated(step, failed({ stderr: "Operation not permitted" })), false);
  assertEquals(isTolerated(step, new Error("File exists")), false);
  assertEquals(isTolerated({ why: "", do: action }, failed({ stderr: "File exists" })), false);
});

Deno.test("ActionError.fromOutput() says what the failure means to the step", () => {
  const output = { code: 2, signal: null, stdout: "", stderr: "RTNETLINK answers: File exists\n" };
  const of = (meaning: NonNullable<Step["meaning"]>) =>
    ActionError.fromOutput({ why: 'name "eth0"', do: action, meaning }, output).message;
  assertEquals(
    of({ exists: "it is taken" }),
    'Cannot name "eth0": RTNETLINK answers: File exists (it is taken)',
  );
  assertEquals(of({ busy: "it is busy" }), 'Cannot name "eth0": RTNETLINK answers: File exists');
  const { meaning } = ActionError.fromOutput(
    { why: "", do: action, meaning: { exists: "it is taken" } },
    output,
  );
  assertEquals(meaning, "it is taken");
});
