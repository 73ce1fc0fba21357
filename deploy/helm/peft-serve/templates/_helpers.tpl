{{- define "name" -}}
{{- if contains "peft-serve" .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}{{ else }}{{ printf "%s-peft-serve" .Release.Name | trunc 53 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/name: peft-serve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "scheme" }}{{ ternary "HTTPS" "HTTP" (ne .Values.tls.secretName "") }}{{ end }}

{{- /* hasKeys is "yes" or empty. */}}
{{- define "hasKeys" }}{{ if or .Values.keys.existingSecret .Values.keys.entries }}yes{{ end }}{{ end }}

{{- /* fetches is "yes" where the base or the adapters come over the network. */}}
{{- define "fetches" }}{{ if or (hasPrefix "hf://" .Values.base.uri) .Values.adapters.source.fetch .Values.adapters.from }}yes{{ end }}{{ end }}

{{- /* bytes of a quantity such as 4Gi, or of a number. */}}
{{- define "bytes" -}}
{{- $text := ternary (printf "%.0f" (float64 .)) (toString .) (kindIs "float64" .) -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" $text -}}
{{- $unit := trimPrefix $number $text -}}
{{- if or (eq $number "") (not (hasKey $units $unit)) }}{{ fail (printf "resources.limits.memory: %v is no amount of memory such as 4Gi" .) }}{{ end -}}
{{- mulf (float64 $number) (get $units $unit) -}}
{{- end }}

{{- /* config is what the ConfigMap tells the server: settings, and what has values of its own. */}}
{{- define "config" -}}
{{- $own := dict "addr" ":8080" "base" .Values.base.uri "adapters" "/adapters" "adapter-cache" "/cache/adapters" "drain" (printf "%ds" (int .Values.shutdown.drainSeconds)) "deregistration-delay" (printf "%ds" (int .Values.shutdown.deregistrationSeconds)) "memory-limit" (include "bytes" .Values.resources.limits.memory | float64 | int64) "log-format" "json" -}}
{{- if include "hasKeys" . }}{{ $_ := set $own "keys" "/etc/peft-serve/keys" }}{{ end -}}
{{- if or .Values.adapters.source.image (not (include "hasKeys" .)) }}{{ $_ := set $own "read-only" true }}{{ end -}}
{{- if .Values.adapters.aliases }}{{ $_ := set $own "aliases" "/etc/peft-serve/aliases" }}{{ end -}}
{{- with .Values.adapters.from }}{{ $from := list }}{{ range $name, $uri := . }}{{ $from = append $from (printf "%s=%s" $name $uri) }}{{ end }}{{ $_ := set $own "adapters-from" $from }}{{ end -}}
{{- if .Values.tls.secretName }}{{ $_ := set $own "tls-cert" "/etc/peft-serve/tls/tls.crt" }}{{ $_ := set $own "tls-key" "/etc/peft-serve/tls/tls.key" }}{{ end -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.settings)) -}}
{{- end }}

{{- /* series selects this release's in Prometheus, as the ServiceMonitor labels them. */}}
{{- define "series" -}}
namespace={{ .Release.Namespace | quote }},job={{ include "name" . | quote }}
{{- end }}
