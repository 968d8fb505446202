// emit_tuple sends exactly the rows that its document says, as the role that writes them.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { outboxDatabase } from '../support/outbox.ts'

async function withTable(t: Parameters<typeof outboxDatabase>[0]) {
  const db = await outboxDatabase(t)
  await db.owner.run(`CREATE TABLE orders (id int, "Customer" text, amount numeric);
    GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO PUBLIC`)
  const trigger = (args: string, when = 'AFTER INSERT OR UPDATE', each = 'ROW', on = 'orders'): string =>
    `DROP TRIGGER IF EXISTS emit ON ${on}; CREATE TRIGGER emit ${when} ON ${on} FOR EACH ${each}
     EXECUTE PROCEDURE pipeline_kafka.emit_tuple(${args})`
  return { ...db, trigger }
}

describe('pipeline_kafka.emit_tuple', () => {
  test('sends the new row of INSERT and UPDATE as JSON', async (t) => {
    const { owner, alice, trigger, outbox } = await withTable(t)
    await owner.run(trigger(`'topic'`))
    await alice.run(`INSERT INTO orders VALUES (1, 'a "b" é', 12345678901234567890.10), (2, NULL, NULL);
      UPDATE orders SET amount = 1 WHERE id = 2; DELETE FROM orders`)
    const row = (value: string) => ({
      topic: 'topic',
      partition: null,
      key: null,
      value,
      source: 'public.orders',
    })
    assert.deepEqual(await outbox(), [
      row(String.raw`{"id":1,"Customer":"a \"b\" é","amount":12345678901234567890.10}`),
      row('{"id":2,"Customer":null,"amount":null}'),
      row('{"id":2,"Customer":null,"amount":1}'),
    ])
  })

  test('takes a partition, and a column as key; -1 is no partition', async (t) => {
    const { owner, alice, trigger, outbox } = await withTable(t)
    for (const args of [
      `'topic', '3'`,
      `'topic', '-1', 'id'`,
      `'topic', '0', 'Customer'`,
      `'topic', '-1', 'amount'`,
    ]) {
      await owner.run(trigger(args))
      await alice.run(`INSERT INTO orders VALUES (7, 'é "x"')`)
    }
    assert.deepEqual(
      (await outbox()).map(({ partition, key }) => [partition, key]),
      [
        [3, null],
        [null, '7'],
        [0, 'é "x"'],
        [null, null],
      ],
    )
  })

  test('used otherwise is an error that says how it is used', async (t) => {
    const { owner, alice, trigger, values } = await withTable(t)
    const insert = `INSERT INTO orders VALUES (1, 'x', 1)`
    const misuses: [trigger: string, statement: string, expected: string][] = [
      [trigger(`'topic'`, 'BEFORE INSERT'), insert, 'trigger-misused 39P01'],
      [trigger(`'topic'`, 'AFTER INSERT', 'STATEMENT'), insert, 'trigger-misused 39P01'],
      [trigger(`'topic'`, 'AFTER DELETE'), 'DELETE FROM orders', 'trigger-misused 39P01'],
      [trigger(`'topic'`, 'AFTER TRUNCATE', 'STATEMENT'), 'TRUNCATE orders', 'trigger-misused 39P01'],
      [trigger(''), insert, 'trigger-misused 39P01'],
      [trigger(`'topic', '-1', 'id', 'more'`), insert, 'trigger-misused 39P01'],
      [trigger(`'not a topic'`), insert, 'topic-invalid 22023'],
      [trigger(`''`), insert, 'topic-invalid 22023'],
      [trigger(`'topic', ''`), insert, 'partition-invalid 22023'],
      [trigger(`'topic', '-2'`), insert, 'partition-invalid 22023'],
      [trigger(`'topic', 'id'`), insert, 'partition-invalid 22023'],
      [trigger(`'topic', '2147483648'`), insert, 'partition-invalid 22023'],
      [trigger(`'topic', '-1', 'customer'`), insert, 'column-missing 42703'],
      [trigger(`'topic', '-1', '"; DROP TABLE orders; --'`), insert, 'column-missing 42703'],
    ]
    await owner.run(`${insert}; GRANT TRUNCATE ON orders TO PUBLIC`)
    for (const [setup, statement, expected] of misuses) {
      await owner.run(setup)
      assert.equal(await alice.refusal(statement), expected, setup)
    }
    assert.deepEqual(await values(), [])
    assert.equal(await owner.value('SELECT count(*)::int FROM orders'), 1)
    assert.match(
      String(await alice.refusal('SELECT pipeline_kafka.emit_tuple()')),
      /called as triggers 0A000$/,
    )
  })

  test('the hint writes the statement that is right', async (t) => {
    const { owner, alice, trigger } = await withTable(t)
    await owner.run(trigger(`'topic'`, 'BEFORE INSERT'))
    await assert.rejects(alice.run('INSERT INTO orders VALUES (1)'), {
      message:
        'emit_tuple is for AFTER INSERT OR UPDATE triggers FOR EACH ROW; trigger emit is BEFORE INSERT FOR EACH ROW',
      hint: /^CREATE TRIGGER \.\.\. AFTER INSERT OR UPDATE ON \.\.\. FOR EACH ROW EXECUTE FUNCTION/,
    })
  })

  test('works on partitions, in hostile names, and under COPY', async (t) => {
    const { owner, superuser, trigger, outbox } = await withTable(t)
    await owner.run(`CREATE SCHEMA "s'; --"; CREATE TABLE "s'; --"."t""x" (id int, "a'b" text) PARTITION BY LIST (id);
      CREATE TABLE "s'; --".part PARTITION OF "s'; --"."t""x" DEFAULT`)
    await owner.run(trigger(`'topic', '-1', 'a''b'`, 'AFTER INSERT', 'ROW', `"s'; --"."t""x"`))
    await owner.run(`INSERT INTO "s'; --"."t""x" VALUES (1, 'k1')`)
    await superuser.run(`COPY "s'; --"."t""x" FROM PROGRAM 'printf "2\\tk2\\n"'`)
    assert.deepEqual(
      (await outbox()).map(({ key, value, source }) => [key, value, source]),
      [
        ['k1', `{"id":1,"a'b":"k1"}`, `"s'; --".part`],
        ['k2', `{"id":2,"a'b":"k2"}`, `"s'; --".part`],
      ],
    )
  })

  test('sends generated columns of both kinds', async (t) => {
    const { owner, trigger, outbox } = await withTable(t)
    await owner.run(`CREATE TABLE computed (a int, gone int, stored int GENERATED ALWAYS AS (a + 1) STORED,
        "Virtual" int GENERATED ALWAYS AS (a * 2) VIRTUAL, b text);
      ALTER TABLE computed DROP COLUMN gone; ${trigger(`'topic', '-1', 'Virtual'`, 'AFTER INSERT OR UPDATE', 'ROW', 'computed')};
      INSERT INTO computed (a, b) VALUES (20, 'x'); UPDATE computed SET a = NULL`)
    assert.deepEqual(
      (await outbox()).map(({ key, value }) => [key, value]),
      [
        ['40', '{"a":20,"stored":21,"Virtual":40,"b":"x"}'],
        [null, '{"a":null,"stored":null,"Virtual":null,"b":"x"}'],
      ],
    )
  })

  test('a table of a type with a cast to JSON runs that cast as the writer, never as another role', async (t) => {
    const { alice, owner, superuser, trigger, roles } = await withTable(t)
    await alice.run(`CREATE TYPE mood AS ENUM ('ok');
      CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE sql AS 'SELECT to_json(current_user::text)';
      CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
      CREATE TABLE moods (m mood); ${trigger(`'topic'`, 'AFTER INSERT', 'ROW', 'moods')};
      INSERT INTO moods VALUES ('ok')`)
    await owner.run(`SELECT 1`)
    assert.deepEqual(
      await superuser.column(`SELECT convert_from(value, 'UTF8')::json ->> 'm' FROM millrace.outbox`),
      [roles.alice],
    )
  })
})

describe('with whose rights a trigger sends', () => {
  test('the writer’s: without the topic the row is not written', async (t) => {
    const { owner, alice, bob, trigger, values } = await withTable(t)
    await owner.run(trigger(`'topic'`))
    assert.equal(await bob.refusal('INSERT INTO orders VALUES (1)'), 'topic-not-granted 42501')
    assert.equal(await alice.refusal('INSERT INTO orders VALUES (2)'), null)
    await owner.run(`SELECT millrace.grant_topic('topic', 'public', action := 'produce')`)
    assert.equal(await bob.refusal('UPDATE orders SET id = 3'), null)
    assert.deepEqual(await values(), [
      '{"id":2,"Customer":null,"amount":null}',
      '{"id":3,"Customer":null,"amount":null}',
    ])
  })

  test('the owner’s, by a function that says so (docs/sql.md)', async (t) => {
    const { owner, bob, roles, superuser } = await withTable(t)
    await owner.run(`
      CREATE FUNCTION send_order() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
      BEGIN
        PERFORM millrace.produce('orders', json_build_object('id', NEW.id)::text, NEW.id::text);
        RETURN NULL;
      END $$;
      CREATE TRIGGER send AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION send_order()`)
    assert.equal(await bob.refusal('INSERT INTO orders VALUES (1)'), null)
    assert.equal(await superuser.value('SELECT owner::text FROM millrace.outbox'), roles.owner)
  })
})
