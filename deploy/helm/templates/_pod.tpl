{{/* The ports of a role, beside metrics and health: what docs and code call them. */}}
{{- define "chatify.port" -}}
{{- get (dict "gateway" "8080" "access" "8031" "logic" "8034" "push" "8033" "offline" "8023") . }}
{{- end }}

{{/* The pod of a role: a dict of `root`, `role` and `values`. */}}
{{- define "chatify.pod" -}}
{{- $root := .root }}
{{- $v := .values }}
{{- $all := $root.Values }}
{{- $env := dict
  "ROLE" .role
  "AUTH_MODE" "jwt"
  "HOST" "0.0.0.0"
  "ADMIN_HOST" "0.0.0.0"
  "ADMIN_PORT" "9464"
  "CHAT_PARTITIONS" (toString $all.partitions.chat)
  "USER_PARTITIONS" (toString $all.partitions.user)
  "DURABILITY" $all.durability
  "LOG_LEVEL" $all.logLevel
  "TRACE_SAMPLE_RATIO" (toString $all.tracing.sampleRatio) }}
{{- if $all.tracing.endpoint }}{{ $_ := set $env "OTEL_EXPORTER_OTLP_ENDPOINT" $all.tracing.endpoint }}{{ end }}
{{- if $all.auth.jwksUrl }}{{ $_ := set $env "JWKS_URL" $all.auth.jwksUrl }}{{ end }}
{{- if $all.auth.audience }}{{ $_ := set $env "JWT_AUDIENCE" $all.auth.audience }}{{ end }}
{{- if $all.auth.issuer }}{{ $_ := set $env "JWT_ISSUER" $all.auth.issuer }}{{ end }}
{{- if and (eq .role "gateway") $all.auth.allowedOrigins }}{{ $_ := set $env "ALLOWED_ORIGINS" $all.auth.allowedOrigins }}{{ end }}
{{- range $name, $value := $all.env }}{{ $_ := set $env $name (toString $value) }}{{ end }}
{{- range $name, $value := $v.env }}{{ $_ := set $env $name (toString $value) }}{{ end }}
metadata:
  labels:
    {{- include "chatify.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    {{- if not $all.secrets.existing }}
    # Pods are replaced when a secret changes.
    chatify/secrets: {{ toJson $all.secrets | sha256sum }}
    {{- end }}
    {{- with $v.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
    kubectl.kubernetes.io/default-container: chatify
spec:
  serviceAccountName: {{ include "chatify.serviceAccount" $root }}
  # It never asks the API server for anything.
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $all.terminationGraceSeconds $v.preStopSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  {{- with $all.image.pullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "chatify.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .role }}
  containers:
    - name: chatify
      image: {{ printf "%s:%s" $all.image.repository ($all.image.tag | default $root.Chart.AppVersion) | quote }}
      imagePullPolicy: {{ $all.image.pullPolicy }}
      env:
        # Other nodes reach this one at its pod's address. NODE_ID stays unset: each start makes one up.
        - name: ADVERTISE_HOST
          valueFrom: { fieldRef: { fieldPath: status.podIP } }
        {{- range $name, $value := $env }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
        {{- with $all.extraEnv }}{{ toYaml . | nindent 8 }}{{ end }}
      envFrom:
        - secretRef: { name: {{ include "chatify.secret" $root }} }
        {{- with $all.extraEnvFrom }}{{ toYaml . | nindent 8 }}{{ end }}
      ports:
        - { name: main, containerPort: {{ include "chatify.port" .role }} }
        {{- if eq .role "access" }}
        - { name: http, containerPort: 8032 }
        {{- end }}
        - { name: admin, containerPort: 9464 }
      # It is given two minutes to find Redis and the database; from then on silence means a restart.
      startupProbe:
        httpGet: { path: /healthz, port: admin }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /healthz, port: admin }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: admin }
        periodSeconds: 3
        timeoutSeconds: 3
        failureThreshold: 2
      {{- if $v.preStopSeconds }}
      lifecycle:
        preStop: { sleep: { seconds: {{ $v.preStopSeconds }} } }
      {{- end }}
      resources: {{ toYaml $v.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: data, mountPath: /data }
        - { name: tmp, mountPath: /tmp }
  volumes:
    - { name: tmp, emptyDir: {} }
    {{- if not .claim }}
    - { name: data, emptyDir: {} }
    {{- end }}
{{- end }}
