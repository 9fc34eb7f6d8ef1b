-- name: newest_message
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'callboard_cluster_messages'), 0)
