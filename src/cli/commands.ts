// Every command stands in this table, with everything that its help says; a command's own code is loaded when
// it is called, so that `millrace help` needs no database driver.

import type { Command } from './command.ts'

const database = {
  value: 'URL',
  about: 'postgresql://user:password@host:port/database; else DATABASE_URL or the configuration file',
}
const config = { value: 'FILE', about: 'configuration file (JSON); else MILLRACE_CONFIG' }

export const commands = {
  install: {
    name: 'install',
    about: 'install or upgrade the schema in a database',
    details:
      'May be repeated: it does what is missing and says what it did. The owner of the database is enough;\n' +
      'only --extension-dir needs the right to write there.',
    options: {
      database,
      dialect: {
        value: 'NAME',
        multiple: true,
        about: 'also install this dialect; may be given several times',
      },
      all: { about: 'also install every dialect' },
      'extension-dir': { value: 'DIR', about: 'also write the files for CREATE EXTENSION to this directory' },
      config,
    },
    run: async (args, env) => (await import('./install.ts')).install(args, env),
  },
  uninstall: {
    name: 'uninstall',
    about: 'remove the schema from a database; tables of yours stay as they are',
    options: { database, config },
    run: async (args, env) => (await import('./uninstall.ts')).uninstall(args, env),
  },
  run: {
    name: 'run',
    about: 'run the daemon',
    details:
      'SIGTERM or SIGINT finishes and commits the batches in hand and exits 0; a second signal exits at once.\n' +
      'Settings come from options, then the environment, then the configuration file: docs/configuration.md.',
    options: {
      database,
      config,
      'log-level': { value: 'LEVEL', about: 'trace, debug, info, warn, error, fatal or silent' },
      'log-format': { value: 'FORMAT', about: 'auto, json or human' },
    },
    run: async (args, env) => (await import('./run.ts')).run(args, env),
  },
  pg2kafka: {
    name: 'pg2kafka',
    about: 'run the daemon as pg2kafka was run, by its environment variables',
    details:
      'DATABASE_URL        the database\n' +
      'KAFKA_BROKER        host:port of a broker; several are separated by commas\n' +
      'PERFORM_MIGRATIONS  true: install or upgrade the schema and the dialect pg2kafka\n' +
      "TOPIC_NAMESPACE     part of each topic's name: pg2kafka.NAMESPACE.DATABASE.TABLE\n" +
      'DRY_RUN             true: write the messages to standard output, send nothing, and keep them\n\n' +
      'Everything else is as with millrace run, whose settings count, too.',
    options: { config },
    run: async (args, env) => (await import('./pg2kafka.ts')).pg2kafka(args, env),
  },
  status: {
    name: 'status',
    about: 'show every consumer: state, position, lag, rate, last error',
    details:
      'Exits with 0 when every consumer runs or was stopped on purpose, with 1 when one needs attention.',
    options: { database, config, json: { about: 'as JSON' } },
    run: async (args, env) => (await import('./status.ts')).status(args, env),
  },
  adopt: {
    name: 'adopt',
    about: 'say what a database is that was copied, restored or moved',
    details:
      'For the role that the schema belongs to. Without --moved or --clone it changes nothing and says what differs:\n' +
      'exit code 0 when nothing does, 4 otherwise. Daemons that wait for it go on by themselves.',
    options: {
      database,
      moved: {
        about: 'this is the original: restored, renamed, upgraded or elsewhere; its consumers go on',
      },
      clone: { about: 'this is a copy beside the original: it gets an identity of its own' },
      'keep-running': { about: 'with --clone: its consumers go on too; otherwise they are stopped' },
      config,
    },
    run: async (args, env) => (await import('./adopt.ts')).adopt(args, env),
  },
  replay: {
    name: 'replay',
    about: 'load dead letters again',
    details:
      'A daemon has to run: it does the work, also when this command is ended. What is chosen by several options has to\n' +
      'match all of them. Exits with 0 when everything was loaded, with 1 when something was not.',
    options: {
      consumer: { value: 'ID', about: 'those of this consumer (millrace.consumers)' },
      topic: { value: 'TOPIC', about: 'those of the consumer of this topic; with --into' },
      into: { value: 'RELATION', about: 'the relation that it loads' },
      id: {
        value: 'N',
        multiple: true,
        about: 'this one (millrace.dead_letters); may be given several times',
      },
      where: {
        value: 'SQL',
        about: 'those that match a condition over the columns of millrace.dead_letters',
      },
      all: { about: 'all that you may see' },
      database,
      config,
    },
    run: async (args, env) => (await import('./replay.ts')).replay(args, env),
  },
  snapshots: {
    name: 'snapshots',
    about: 'show how far the snapshots of tables are',
    details:
      'Rows that a table had before its changes were captured are sent by the daemon, in chunks. Those that are done show for\n' +
      'a day. Exits with 1 when one cannot go on, or is open and no daemon is connected; otherwise with 0.',
    options: {
      wait: { about: 'wait until those that are open are done' },
      id: { value: 'N', multiple: true, about: 'this one; may be given several times' },
      database,
      config,
    },
    run: async (args, env) => (await import('./snapshots.ts')).snapshots(args, env),
  },
  try: {
    name: 'try',
    about: 'load the last messages of a topic, take that back, and say what would fail',
    details:
      'A daemon has to run. The messages are really loaded, with constraints and triggers, in a transaction that is\n' +
      'rolled back: no row is kept and no position moves, but sequences may advance, and what a trigger does outside\n' +
      'the database is done. The options below --messages are those of millrace.consume (docs/sql.md).\n' +
      'Exits with 0 when everything would be loaded, with 1 when something would fail.',
    arguments: ['TOPIC', 'RELATION'],
    options: {
      messages: { value: 'N', about: 'so many, from all partitions together; else 100' },
      format: { value: 'FORMAT', about: 'json (default), text or csv' },
      delimiter: { value: 'CHARACTER', about: 'of text and csv' },
      quote: { value: 'CHARACTER', about: 'of csv' },
      escape: { value: 'CHARACTER', about: 'of csv' },
      encoding: { value: 'NAME', about: 'of text and csv' },
      'json-path': { value: 'PATH', about: 'to the rows inside a message' },
      columns: { value: 'NAME,...', about: 'columns that a message fills' },
      'rest-column': { value: 'NAME', about: 'takes the keys that match no column' },
      'unknown-keys': { value: 'WHAT', about: 'ignore or error' },
      'missing-keys': { value: 'WHAT', about: 'default or error' },
      metadata: { value: 'JSON', about: 'columns for key, topic, partition, offset, timestamp, headers' },
      mode: { value: 'MODE', about: 'insert, upsert or changes' },
      'key-columns': { value: 'NAME,...', about: 'of upsert and changes' },
      tombstone: { value: 'WHAT', about: 'skip, row or delete' },
      transform: { value: 'SQL', about: 'SELECT ... FROM batch' },
      cluster: { value: 'NAME', about: 'may be left out while there is one' },
      database,
      config,
    },
    run: async (args, env) => (await import('./try.ts')).tryLoad(args, env),
  },
} as const satisfies Record<string, Command>
