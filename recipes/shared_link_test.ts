import { assertEquals } from "@std/assert";
import { DryRun } from "../ns/machine.ts";
import { holdSharedLink, sharedLinkLock } from "./shared_link.ts";

Deno.test("sharedLinkLock() gives every link a file of its own", () => {
  assertEquals(sharedLinkLock("cni0"), "/run/cni/denocni/links/cni0.lock");
});

Deno.test("holdSharedLink() makes nothing in a dry run", async () => {
  const read = () => {
    try {
      return [...Deno.readDirSync("/run/cni/denocni/links")].map(({ name }) => name);
    } catch {
      return [];
    }
  };
  const before = read();
  using _ = await holdSharedLink(new DryRun(), "dry-run-only0");
  assertEquals(read(), before);
});
