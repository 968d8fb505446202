import { testVersion } from '../support/version.ts'

testVersion(15)
