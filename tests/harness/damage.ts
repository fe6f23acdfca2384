/**
 * What the conformance suite does to attachments behind a plugin's back.
 *
 * @module
 */
import { changesHost } from "./ability.ts";
import { Attachment } from "./attachment.ts";
import { fail } from "./plugin.ts";
import type { Row } from "./rows.ts";
import type { Sandbox } from "./sandbox.ts";

/**
 * CHECK passes until an attachment is damaged, and then fails, for each damage of a row. A plugin
 * that changes something can have it damaged.
 */
export async function noticeDamage(
  test: Deno.TestContext,
  sandbox: Sandbox,
  row: Row,
): Promise<void> {
  if (row.damage.length === 0 && await changesHost(row.type)) {
    throw new Error(`Cannot damage "${row.name}": its row does not say how`);
  }
  for (const [index, damage] of row.damage.entries()) {
    await test.step(damage.name, async () => {
      const options = { containerId: `c${index}`, container: `n${index}` };
      const attachment = await Attachment.create(sandbox, row, options);
      await attachment.add();
      await attachment.check();
      await damage.inflict(attachment);
      await fail(sandbox, attachment.call("CHECK"));
      await attachment.del();
      await attachment.delBefore();
    });
  }
}
