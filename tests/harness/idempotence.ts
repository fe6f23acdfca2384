/**
 * What the idempotence suite does to attachments: it removes them twice, and after
 * their namespace was lost. Each function throws when there was nothing to remove, or
 * nothing was lost.
 *
 * @module
 */
import { changesHost } from "./ability.ts";
import { Attachment } from "./attachment.ts";
import type { JsonObject } from "../../cni/types.ts";
import type { Row } from "./rows.ts";
import type { Sandbox } from "./sandbox.ts";
import type { State } from "./state.ts";
import { assertSame, difference, snapshot } from "./state.ts";
import { exists } from "./exists.ts";

/** ADD, which changes something of the state before, unless the plugin is one that cannot. */
export async function addVisibly(attachment: Attachment, before: State): Promise<JsonObject> {
  const { sandbox, row } = attachment;
  const result = await attachment.add();
  const changed = difference(before, await snapshot(sandbox)).length > 0;
  if (changed === await changesHost(row.type)) return result;
  throw new Error(
    changed
      ? `Cannot call "${row.type}" harmless: its ADD changes the host`
      : `Cannot remove what "${row.type}" made: its ADD has changed nothing`,
  );
}

/** A second DEL of an attachment, with or without the result of ADD, changes nothing more. */
export async function removeTwice(
  attachment: Attachment,
  { known }: { known: boolean },
): Promise<void> {
  const { sandbox } = attachment;
  const result = await addVisibly(attachment, await snapshot(sandbox));
  attachment.result = known ? result : undefined;
  await attachment.del();
  const after = await snapshot(sandbox);
  await attachment.del();
  assertSame(after, await snapshot(sandbox));
  attachment.result = result;
  await attachment.delBefore();
}

/** A DEL, and one more, that has `netns` for an attachment whose namespace `lose` has removed. */
export async function removeLost(
  sandbox: Sandbox,
  { row, netns, lose }: {
    row: Row;
    netns: string;
    /** Gives what awaits the namespace's end. */
    lose: (name: string) => Promise<() => Promise<void>>;
  },
): Promise<void> {
  const attachment = await Attachment.create(sandbox, row, { container: "lost" });
  await attachment.add();
  const tornDown = await lose("lost");
  if (exists(attachment.netns)) {
    throw new Error(`Cannot remove after a loss of "${attachment.netns}": it is still there`);
  }
  await attachment.del({ netns });
  await attachment.del({ netns });
  await attachment.delBefore();
  await tornDown();
}
