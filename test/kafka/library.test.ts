// The client library by its one door (library.ts): nothing is compiled that nobody has asked for.
import assert from 'node:assert/strict'
import { test } from 'node:test'

/** Source code of the functions that were made from strings meanwhile, as Ajv makes its validators. */
async function validatorsMadeBy(act: () => unknown): Promise<string[]> {
  const sources: string[] = []
  const { Function: original } = globalThis
  globalThis.Function = new Proxy(original, {
    construct(target, args) {
      sources.push(String(args.at(-1)))
      return Reflect.construct(target, args)
    },
  })
  try {
    await act()
  } finally {
    globalThis.Function = original
  }
  return sources.filter((source) => source.includes('instancePath'))
}

test('a schema is compiled when the first options of its kind are checked, and then once', async () => {
  let library!: typeof import('../../src/kafka/library.ts')
  const atImport = await validatorsMadeBy(async () => {
    library = await import('../../src/kafka/library.ts')
  })
  assert.deepEqual(atImport, [])

  const options = { clientId: 'test', bootstrapBrokers: ['127.0.0.1:9092'], strict: true }
  const wrong = () => new library.Admin({ ...options, retries: 'many' as never })
  const atFirst = await validatorsMadeBy(() => assert.throws(wrong, /\/options\/retries must be number/))
  assert.notDeepEqual(atFirst, [])
  const later = await validatorsMadeBy(() => assert.throws(wrong, /\/options\/retries must be number/))
  assert.deepEqual(later, [])
  await new library.Admin(options).close()
})
