-- A: {cluster id, backend}. Whatever term of theirs begins next is taken.
SET = {cluster = A[1], backend = A[2], term = -1, claimant = ''}
wrote()
return answer()
