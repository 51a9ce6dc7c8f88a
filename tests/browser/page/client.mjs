import { serve_page } from './call.mjs'
import { judge } from './client_judge.mjs'

serve_page(judge, 'client_worker.mjs')
