// The client library, by its one door. When it is imported it compiles a JSON schema for each kind of options it has,
// which is half of what a command needs to start, and 20 MB resident; nothing here asks for them to be checked (the
// library calls it `strict`), so by this door a schema is compiled when the first options are.

import { compileAtOnce } from './lazy-schemas.ts'

export * from '@platformatic/kafka'

compileAtOnce()
