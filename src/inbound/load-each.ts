// What a staged load runs, as the consumer's owner, when messages fail: each message stands or falls by itself, as if it
// were loaded alone, in order. Where nothing but PostgreSQL itself runs on an INSERT, neighbours are tried together as
// long as they fare alike: all of them go in, or each is a duplicate. That says nothing else than one by one would have said.

import { messageClauses } from '../pipeline/error-policy.ts'
import { identifier, literal } from '../postgres/literal.ts'
import { messagesOfBlock } from './failed-message.ts'
import { indented, inserted, type LoadPlan, stageColumns, statements } from './load-statement.ts'

/** Of `eachBody`: messages that fail for one reason, in order; the last row has none. */
export const eachTable =
  'millrace_failed_tags bigint[], millrace_sqlstate text, millrace_reason text, millrace_taken bigint'

/** Raised and caught here alone: the rows of a piece do not fare alike. */
const unlike = 'ML003'

/** After so many pieces that fared alike the next one is so many times as large. */
const growth = 8

const tag = identifier(stageColumns.tag)

/** PL/pgSQL. Its last row has how many transaction ids it took. */
export function eachBody(plan: LoadPlan): string {
  return plan.mode === 'insert' && plan.transform === null ? inPieces(plan) : byMessage(plan)
}

/** 42501: a policy of row-level security; had the owner no right to the relation, nothing would come here. */
const isOfMessage = `(${messageClauses('SQLSTATE')} OR SQLSTATE = '42501')`

function byMessage(plan: LoadPlan): string {
  return `#variable_conflict use_column
DECLARE
  millrace_message record;
  millrace_rows bigint;
  millrace_count bigint := 0;
BEGIN
  millrace_taken := 0;
  FOR millrace_message IN
    SELECT s.${tag} AS tag, pg_catalog.array_agg(s.ctid) AS tids FROM ${plan.stage} AS s GROUP BY s.${tag} ORDER BY s.${tag}
  LOOP
    millrace_taken := millrace_taken + 1;
    BEGIN
      ${indented(statements(plan, 's.ctid = ANY (millrace_message.tids)'), '      ')}
      SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION WHEN OTHERS THEN
      IF NOT ${isOfMessage} THEN
        RAISE;
      END IF;
      millrace_failed_tags := ARRAY[millrace_message.tag];
      millrace_sqlstate := SQLSTATE;
      millrace_reason := SQLERRM;
      RETURN NEXT;
    END;
  END LOOP;
  millrace_failed_tags := NULL;
  RETURN NEXT;
END`
}

/**
 * A piece is rows of whole messages; at first of one. What ON CONFLICT passes over without writing anything, and without
 * taking a transaction id, would have raised what the first duplicate raised. A piece in which something else happens
 * is undone and its messages are taken in smaller ones, a message by itself at last.
 */
function inPieces(plan: LoadPlan): string {
  const one = 's.ctid = millrace_block.tids[millrace_first]'
  const several = 's.ctid = ANY (millrace_block.tids[millrace_first:millrace_last])'
  const order = ` ORDER BY s.${tag}, s.ctid`
  const insert = (rows: string, rest: string) => indented(inserted(plan, rows, rest).join('\n'), '          ')
  return `#variable_conflict use_column
DECLARE
  millrace_block record;
  millrace_plain boolean;
  -- numbers of rows in the block
  millrace_first integer;
  millrace_last integer;
  millrace_end integer;
  -- rows that a piece has at least
  millrace_size integer := 1;
  -- pieces in a row that fared alike
  millrace_calm integer := 0;
  millrace_single boolean;
  -- the piece is expected to be of duplicates
  millrace_duplicates boolean := false;
  millrace_duplicate text;
  millrace_rows bigint;
  millrace_count bigint;
BEGIN
  millrace_taken := 0;
  millrace_plain := ${isPlain(plan)};
  IF millrace_plain THEN
    -- from here on nobody makes it anything else
    LOCK TABLE ${plan.relation} IN ROW EXCLUSIVE MODE;
    millrace_plain := ${isPlain(plan)};
  END IF;
  FOR millrace_block IN
    SELECT pg_catalog.array_agg(s.${tag} ORDER BY s.${tag}, s.ctid) AS tags, pg_catalog.array_agg(s.ctid ORDER BY s.${tag}, s.ctid) AS tids
      FROM ${plan.stage} AS s GROUP BY s.${tag} / ${messagesOfBlock} ORDER BY s.${tag} / ${messagesOfBlock}
  LOOP
    millrace_first := 1;
    millrace_end := pg_catalog.cardinality(millrace_block.tags);
    WHILE millrace_first <= millrace_end LOOP
      millrace_last := least(millrace_first + millrace_size - 1, millrace_end);
      WHILE millrace_last < millrace_end AND millrace_block.tags[millrace_last] = millrace_block.tags[millrace_last + 1] LOOP
        millrace_last := millrace_last + 1;
      END LOOP;
      millrace_single := millrace_block.tags[millrace_first] = millrace_block.tags[millrace_last];
      millrace_count := 0;
      BEGIN
        IF millrace_duplicates AND NOT (millrace_single AND millrace_first < millrace_last) THEN
          IF millrace_single THEN
            ${insert(one, ' ON CONFLICT DO NOTHING')}
          ELSE
            ${insert(several, `${order} ON CONFLICT DO NOTHING`)}
          END IF;
          IF millrace_count = 0 THEN
            millrace_failed_tags := ARRAY(SELECT DISTINCT t.tag FROM pg_catalog.unnest(
              millrace_block.tags[millrace_first:millrace_last]) AS t (tag) ORDER BY t.tag);
            millrace_sqlstate := '23505';
            millrace_reason := millrace_duplicate;
            RETURN NEXT;
          ELSIF millrace_count <= millrace_last - millrace_first THEN
            RAISE EXCEPTION 'some are duplicates, some are not' USING ERRCODE = '${unlike}';
          ELSE
            millrace_duplicates := false;
            millrace_calm := 0;
          END IF;
        ELSIF millrace_first = millrace_last THEN
          ${insert(one, '')}
        ELSE
          ${insert(several, order)}
        END IF;
        IF millrace_count > 0 THEN
          millrace_taken := millrace_taken + 1;
          SET CONSTRAINTS ALL IMMEDIATE;
        END IF;
        millrace_calm := millrace_calm + 1;
        IF millrace_plain AND millrace_calm >= ${growth} AND millrace_size < ${messagesOfBlock} THEN
          millrace_size := millrace_size * ${growth};
          millrace_calm := 0;
        END IF;
      EXCEPTION WHEN OTHERS THEN
        millrace_taken := millrace_taken + 1;
        IF NOT (${isOfMessage} OR SQLSTATE = '${unlike}' AND NOT millrace_single) THEN
          RAISE;
        END IF;
        millrace_calm := 0;
        IF NOT millrace_single THEN
          millrace_size := greatest(millrace_size / ${growth}, 1);
          CONTINUE;
        END IF;
        millrace_failed_tags := ARRAY[millrace_block.tags[millrace_first]];
        millrace_sqlstate := SQLSTATE;
        millrace_reason := SQLERRM;
        RETURN NEXT;
        -- a plain relation has one constraint that says so
        IF millrace_plain AND SQLSTATE = '23505' THEN
          millrace_duplicates := true;
          millrace_duplicate := SQLERRM;
        END IF;
      END;
      millrace_first := millrace_last + 1;
    END LOOP;
  END LOOP;
  millrace_failed_tags := NULL;
  RETURN NEXT;
END`
}

/**
 * Nothing runs on an INSERT there but what PostgreSQL brings, and a row can be a duplicate by one index alone, which is the
 * first to be written. So an INSERT finds everything else that is wrong with a row before it finds a duplicate (but for a
 * row that fits into no page: hence the limits to columns), as it does with ON CONFLICT, and names the same constraint
 * each time.
 */
function isPlain({ relation, columns }: LoadPlan): string {
  if (columns.some(({ castTo }) => castTo !== null)) return 'false'
  const users = 16384
  return `coalesce((
    SELECT r.relkind = 'r' AND r.relam = 2 AND NOT r.relispartition AND NOT r.relrowsecurity AND NOT r.relhasrules
      AND r.relnatts <= 100
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = r.oid AND NOT t.tgisinternal)
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
         WHERE a.attrelid = r.oid AND a.attnum > 0 AND (t.typtype = 'd' OR t.typlen > 64 OR a.attlen = -1 AND a.attstorage = 'p'))
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = r.oid AND (i.indisunique OR i.indisexclusion) AND NOT (
          i.indisunique AND NOT i.indisexclusion AND i.indimmediate AND i.indisvalid AND i.indisready
          AND i.indexprs IS NULL AND i.indpred IS NULL
          AND NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indclass) AS c (class) WHERE c.class >= ${users})
          AND i.indexrelid = (SELECT pg_catalog.min(j.indexrelid) FROM pg_catalog.pg_index AS j WHERE j.indrelid = r.oid)))
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS d
          JOIN (SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass AS class, k.oid FROM pg_catalog.pg_constraint AS k
                 WHERE k.conrelid = r.oid
                UNION ALL
                SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, f.oid FROM pg_catalog.pg_attrdef AS f
                 WHERE f.adrelid = r.oid) AS o ON d.classid = o.class AND d.objid = o.oid
         WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
           AND d.refobjid >= ${users})
      FROM pg_catalog.pg_class AS r WHERE r.oid = ${literal(relation)}::pg_catalog.regclass), false)`
}
