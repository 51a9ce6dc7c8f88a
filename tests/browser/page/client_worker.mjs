import { serve_worker } from './call.mjs'
import { judge } from './client_judge.mjs'

serve_worker(judge)
