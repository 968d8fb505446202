import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ChunkPool, chunkBytes } from '../../src/formats/chunk-pool.ts'
import { bytesOf, encode, formatOf, outcome } from './encode.ts'

const text = formatOf({ format: 'text' })

suite('text: what is sent', () => {
  const cases: [name: string, message: string, sent: string][] = [
    ['no newline: one is added', 'a\tb', 'a\tb\n'],
    ['a newline: as it is', 'a\tb\n', 'a\tb\n'],
    ['CRLF: the carriage return goes', 'a\tb\r\n', 'a\tb\n'],
    ['a carriage return at the end goes', 'a\tb\r', 'a\tb\n'],
    ['only a newline: an empty line', '\n', '\n'],
    ['only CRLF: an empty line', '\r\n', '\n'],
    ['only a carriage return: an empty line', '\r', '\n'],
    ['an empty line stays', 'a\n\n', 'a\n\n'],
    ['several lines', 'a\nb\nc', 'a\nb\nc\n'],
    ['CRLF between lines becomes LF', 'a\r\nb\nc\r\nd', 'a\nb\nc\nd\n'],
    ['two backslashes at the end', 'a\\\\', 'a\\\\\n'],
    ['two backslashes before CRLF', 'a\\\\\r\n', 'a\\\\\n'],
    ['an escaped carriage return is data', 'a\\\r', 'a\\\r\n'],
    ['an escaped carriage return is data, before a newline, too', 'a\\\r\n', 'a\\\r\n'],
    ['an escaped carriage return is data, inside, too', 'a\\\r\nb\r\nc', 'a\\\r\nb\nc\n'],
    ['an escaped newline inside is data', 'a\\\nb', 'a\\\nb\n'],
    ['an escaped backslash and a dot', 'a\\\\.\nb', 'a\\\\.\nb\n'],
    ['\\. in the middle of a line: PostgreSQL says what is wrong', 'a\\.b', 'a\\.b\n'],
    ['\\N and a NUL and bytes that are no UTF-8', '\\N\t\0\xff', '\\N\t\0\xff\n'],
  ]
  for (const [name, message, sent] of cases) {
    test(name, () => assert.equal(outcome(text, Buffer.from(message, 'latin1')), sent))
  }
})

suite('text: what is refused', () => {
  const cases: [name: string, message: string, code: string][] = [
    ['a backslash at the end', 'a\\', 'trailing-backslash'],
    ['three backslashes at the end', 'a\\\\\\', 'trailing-backslash'],
    ['only a backslash', '\\', 'trailing-backslash'],
    ['a backslash before the last newline', 'a\\\n', 'trailing-backslash'],
    ['\\. alone', '\\.', 'copy-end-marker'],
    ['\\. and a newline', '\\.\n', 'copy-end-marker'],
    ['\\. and CRLF', '\\.\r\n', 'copy-end-marker'],
    ['\\. after data', 'a\tb\\.', 'copy-end-marker'],
    ['\\. after an escaped backslash', 'a\\\\\\.', 'copy-end-marker'],
    ['\\. at the end of an inner line', 'a\n\\.\nb', 'copy-end-marker'],
    ['\\. before a line that ends in a backslash', '\\.\na\\', 'copy-end-marker'],
    ['a carriage return before a line that ends in a backslash', 'a\rb\na\\', 'carriage-return'],
    ['\\. before an inner CRLF', 'a\n\\.\r\nb', 'copy-end-marker'],
    ['\\. before a carriage return', '\\.\ra', 'copy-end-marker'],
    ['a carriage return inside', 'a\rb', 'carriage-return'],
    ['two carriage returns before the newline', 'a\r\r\n', 'carriage-return'],
    ['two carriage returns at the end', 'a\r\r', 'carriage-return'],
  ]
  for (const [name, message, code] of cases) {
    test(name, () => {
      assert.equal(outcome(text, message), `${code} in 0`)
      assert.equal(outcome(text, 'before', message, 'after'), `${code} in 1`)
    })
  }
})

test('what precedes a bad message is sent, and nothing of it or after it', () => {
  for (const bad of ['x\\', 'x\\.', 'x\ry']) {
    const encoded = encode(text, ['1', '2\r\n', bad, 'x\\', '3'], undefined, 100)
    assert.equal(bytesOf(encoded).toString(), '1\n2\n')
    assert.equal(encoded.messages, 2)
    assert.equal(encoded.bytes, 4)
    assert.equal(encoded.bad?.tag, 102)
    assert.doesNotMatch(encoded.bad!.reason, /x/)
  }
})

test('the first bad message counts, whichever is noticed first', () => {
  // the marker is found when the run is examined, the backslash at once
  assert.equal(outcome(text, 'a', '\\.', 'b\\', 'c'), 'copy-end-marker in 1')
  assert.equal(outcome(text, 'a', 'b\\', '\\.', 'c'), 'trailing-backslash in 1')
})

test('a bad message as the first one leaves no segment, and its chunk returns to the pool', () => {
  for (const bad of ['a\\', '\\.']) {
    const pool = new ChunkPool()
    const { segments, messages, bytes } = encode(text, [bad], pool)
    assert.deepEqual({ segments, messages, bytes }, { segments: [], messages: 0, bytes: 0 })
    assert.equal(pool.take(1) && pool.idle, 0)
  }
})

test('no message, no segment', () => {
  assert.deepEqual(encode(text, []), { segments: [], messages: 0, skipped: 0, bytes: 0, bad: null })
})

test('tags may be as large as numbers get', () => {
  const tag = Number.MAX_SAFE_INTEGER - 1
  assert.equal(encode(text, ['a', '\\.'], undefined, tag - 1).bad?.tag, tag)
})

test('messages around and above the size of a chunk', () => {
  for (const length of [
    chunkBytes - 10,
    chunkBytes - 9,
    chunkBytes - 8,
    chunkBytes - 1,
    chunkBytes,
    3 * chunkBytes,
  ]) {
    const messages = ['first', 'x'.repeat(length), 'y\r\nz', 'x'.repeat(length), 'last']
    const encoded = encode(text, messages)
    const sent = messages.map((message) => `${message.replaceAll('\r', '')}\n`).join('')
    assert.ok(bytesOf(encoded).equals(Buffer.from(sent)), `${length}`)
    assert.equal(encoded.bytes, sent.length)
    assert.equal(encoded.messages, 5)
  }
})

test('a message of 50 MB', () => {
  const message = Buffer.alloc(50 * 1024 * 1024, 'some text\r\n')
  const encoded = encode(text, [message, 'next'])
  assert.equal(encoded.messages, 2)
  assert.equal(bytesOf(encoded).indexOf('\r'), -1)
  assert.equal(encoded.bytes, message.toString('latin1').replaceAll('\r', '').length + 1 + 'next\n'.length)
})

test('more messages than a run holds, each of the least size', () => {
  const messages: string[] = Array.from({ length: 100_000 }, (_, i) => (i === 70_000 ? 'x\r\ny' : '\n'))
  const encoded = encode(text, messages)
  assert.equal(encoded.messages, 100_000)
  assert.equal(encoded.bytes, 100_003)
  messages[90_000] = '\\.'
  assert.equal(encode(text, messages).bad?.tag, 90_000)
})

test('chunks are used again', () => {
  const pool = new ChunkPool()
  const messages = Array.from({ length: 20_000 }, (_, i) => `${i}\tsome text that is not very long`)
  const memory = new Set<unknown>()
  for (let batch = 0; batch < 5; batch++) {
    for (const segment of encode(text, messages, pool).segments) {
      for (const chunk of segment.chunks) {
        memory.add(chunk.buffer)
        pool.give(chunk)
      }
    }
  }
  assert.equal(memory.size, pool.idle / chunkBytes)
  assert.ok(memory.size <= 4)
})

suite('text: encodings whose characters can end in a backslash', () => {
  const so = Buffer.from([0x83, 0x5c]) // ソ in Shift JIS
  const sjis = formatOf({ format: 'text', encoding: 'SJIS' })
  const message = (...parts: (string | Buffer)[]) => Buffer.concat(parts.map((part) => Buffer.from(part)))

  test('the second half of a character is no backslash', () => {
    assert.equal(outcome(sjis, so), '\x83\\\n')
    assert.equal(outcome(sjis, message('a', so, '\r\n')), 'a\x83\\\n')
    assert.equal(outcome(sjis, message(so, '.\n', so, '.')), '\x83\\.\n\x83\\.\n')
    assert.equal(outcome(sjis, message(so, '.\r\n', so, '.')), '\x83\\.\n\x83\\.\n')
  })
  test('a backslash after a character is one', () => {
    assert.equal(outcome(sjis, message(so, '\\')), 'trailing-backslash in 0')
    assert.equal(outcome(sjis, message(so, '\\\\')), '\x83\\\\\\\n')
    assert.equal(outcome(sjis, message(so, '\\.')), 'copy-end-marker in 0')
    assert.equal(outcome(sjis, message(so, '\\\r')), '\x83\\\\\r\n')
  })
  test('a backslash before a character escapes its first byte', () => {
    assert.equal(outcome(sjis, message('\\', so)), '\\\x83\\\n')
    assert.equal(outcome(sjis, message('\\', so, '\\')), 'trailing-backslash in 0')
  })
  test('half-width katakana are one byte', () => {
    assert.equal(outcome(sjis, message(Buffer.from([0xb1]), '\\')), 'trailing-backslash in 0')
  })
  test('characters of four bytes in GB18030', () => {
    const gb18030 = formatOf({ format: 'text', encoding: 'gb18030' })
    assert.equal(outcome(gb18030, Buffer.from([0x81, 0x30, 0x81, 0x30])), '\x810\x810\n')
    assert.equal(outcome(gb18030, Buffer.from([0x81, 0x30, 0x81, 0x30, 0x5c])), 'trailing-backslash in 0')
    assert.equal(outcome(gb18030, Buffer.from([0x81, 0x5c])), '\x81\\\n')
  })
  test('half a character at the end takes nothing with it', () => {
    assert.equal(outcome(sjis, Buffer.from([0x83])), '\x83\n')
    assert.equal(outcome(sjis, Buffer.from('\r\n\x83', 'latin1'), 'next'), '\n\x83\nnext\n')
  })
  test('in UTF-8 and where nothing is said it is a backslash', () => {
    for (const encoding of [null, 'UTF8', 'EUC_JP', 'LATIN1', 'SQL_ASCII']) {
      assert.equal(outcome(formatOf({ format: 'text', encoding }), so), 'trailing-backslash in 0')
    }
  })
  test('in a database that converts nothing it is a backslash', () => {
    const raw = formatOf({ format: 'text', encoding: 'SJIS', databaseEncoding: 'SQL_ASCII' })
    assert.equal(outcome(raw, so), 'trailing-backslash in 0')
  })
  test("PostgreSQL's other names for them", () => {
    for (const encoding of [
      'ShiftJIS',
      'Mskanji',
      'WIN932',
      'windows-932',
      'SHIFT_JIS_2004',
      'BIG5',
      'WIN950',
    ]) {
      assert.equal(outcome(formatOf({ format: 'text', encoding }), so), '\x83\\\n', encoding)
    }
    for (const encoding of ['GBK', 'WIN936', 'UHC', 'WIN949', 'JOHAB', 'GB18030']) {
      assert.equal(outcome(formatOf({ format: 'text', encoding }), so), '\x83\\\n', encoding)
    }
  })
})
