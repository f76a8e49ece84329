# What runs, as in docker-compose.yml: one image, three roles.

data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_days
}

locals {
  # Seconds after SIGTERM until the kill. A worker drains, and then each step of the hand-back may take 5 more.
  roles = {
    api = {
      command = ["python", "-m", "scheduler.server", "--bind", "0.0.0.0:8000"]
      port    = 8000, stop = 30, cpu = 512, memory = 1024
      probe   = "/health/live" # a restart brings PostgreSQL back to nobody; the load balancer asks who is ready
    }
    worker = {
      command = ["python", "manage.py", "run_worker", "--metrics-port", "9091"]
      port    = 9091, stop = var.drain_seconds + 40, cpu = 512, memory = 1024
      probe   = "/health/live"
    }
    scheduler = {
      command = ["python", "manage.py", "run_scheduler", "--metrics-port", "9092"]
      port    = 9092, stop = 30, cpu = 256, memory = 512
      probe   = "/health/live"
    }
  }

  environment = merge({
    ALLOWED_HOSTS        = "*" # the load balancer passes on one name only, and probes tasks by their address
    CSRF_TRUSTED_ORIGINS = "https://${var.hostname}"
    REDIS_URL            = "rediss://${aws_elasticache_replication_group.this.primary_endpoint_address}:6379/0"
    DRAIN_SECONDS        = tostring(var.drain_seconds)
    JOURNAL_DIR          = "/journal/own"
    WEB_CONCURRENCY      = "2"
    LOG_FORMAT           = "json"
  }, var.settings)

  # What all containers of all tasks have in common.
  container = {
    image                  = var.image
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    environment            = [for name, value in local.environment : { name = name, value = value }]
    secrets                = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
    mountPoints = [
      { sourceVolume = "tmp", containerPath = "/tmp" },
      { sourceVolume = "journal", containerPath = "/journal" },
    ]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.region
        awslogs-stream-prefix = "sendonce"
      }
    }
  }

  # Fargate's volumes belong to root: this gives them to the image's user, and is the only one that runs as root.
  volumes_ready = merge(local.container, {
    name            = "volumes"
    essential       = false
    user            = "0"
    command         = ["sh", "-c", "install -d -m 700 -o 10001 -g 10001 /journal/own && chmod 1777 /tmp"]
    linuxParameters = { capabilities = { drop = ["NET_RAW"] } }
    environment     = []
    secrets         = []
  })

  # The scheduler brings the tables up to date before it starts, the others wait until that is done.
  migrated = { for role in keys(local.roles) : role => merge(local.container, {
    name      = "migrated"
    essential = false
    command = role == "scheduler" ? ["python", "manage.py", "migrate", "--noinput"] : [
      "sh", "-c", "until python manage.py migrate --check; do sleep 5; done"
    ]
    dependsOn = [{ containerName = "volumes", condition = "SUCCESS" }]
  }) }
}

resource "aws_ecs_task_definition" "this" {
  for_each = local.roles

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.start.arn

  # Both outlive a container, not its task. An answer of an SMTP server that PostgreSQL did not have yet when a worker
  # was killed is found by the one that is started again in the same task.
  volume {
    name = "tmp"
  }

  volume {
    name = "journal"
  }

  container_definitions = jsonencode([
    local.volumes_ready,
    local.migrated[each.key],
    merge(local.container, {
      name          = each.key
      essential     = true
      command       = each.value.command
      portMappings  = [{ containerPort = each.value.port, protocol = "tcp" }]
      stopTimeout   = each.value.stop
      restartPolicy = { enabled = true, restartAttemptPeriod = 60 }
      dependsOn     = [{ containerName = "migrated", condition = "SUCCESS" }]
      healthCheck = {
        command     = ["CMD", "python", "-IS", "deploy/compose/probe.py", tostring(each.value.port), each.value.probe]
        interval    = 15
        timeout     = 10
        retries     = 5
        startPeriod = 120
      }
    }),
  ])
}
