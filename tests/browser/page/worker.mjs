import { serve_worker } from './call.mjs'
import { judge } from './judge.mjs'

serve_worker(judge)
