"""The `store` cluster on a database server: its acts, and what PostgreSQL and MariaDB do each in their own way."""
