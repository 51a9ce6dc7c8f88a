//! Providers that are there when their key is, where none is configured.

use crate::dialect::Family;
use crate::upstream::provider::{Config, Credentials};

struct Preset {
    name: &'static str,
    dialect: Family,
    base_url: &'static str,
    /// The variable that holds the key, as the provider's own SDK reads it.
    key: &'static str,
    /// The variable that points it elsewhere.
    url: Option<&'static str>,
    /// What is appended to that.
    behind: &'static str,
    models: &'static [&'static str],
}

const fn compatible(
    name: &'static str,
    base_url: &'static str,
    key: &'static str,
    models: &'static [&'static str],
) -> Preset {
    Preset { name, dialect: Family::Openai, base_url, key, url: None, behind: "", models }
}

/// In the order in which a model is looked for: who has names of its own comes before who has all.
const PRESETS: [Preset; 14] = [
    Preset {
        name: "anthropic",
        dialect: Family::Anthropic,
        base_url: "https://api.anthropic.com",
        key: "ANTHROPIC_API_KEY",
        url: Some("ANTHROPIC_BASE_URL"),
        behind: "",
        models: &["claude-*"],
    },
    Preset {
        name: "gemini",
        dialect: Family::Gemini,
        base_url: "https://generativelanguage.googleapis.com",
        key: "GEMINI_API_KEY",
        url: Some("GOOGLE_GEMINI_BASE_URL"),
        behind: "",
        models: &["gemini-*", "gemma-*", "models/*"],
    },
    compatible(
        "mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        &["mistral-*", "magistral-*", "ministral-*", "codestral-*", "devstral-*", "pixtral-*"],
    ),
    compatible("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", &["deepseek-*"]),
    compatible("xai", "https://api.x.ai/v1", "XAI_API_KEY", &["grok-*"]),
    compatible("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", &["sonar*"]),
    compatible("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", &["llama-*", "groq/*"]),
    compatible(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        &["accounts/fireworks/*"],
    ),
    compatible("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", &["meta-llama/*", "Qwen/*"]),
    compatible("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", &["llama3.*", "llama-*"]),
    compatible("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", &["*/*"]),
    Preset {
        name: "azure",
        dialect: Family::Openai,
        base_url: "",
        key: "AZURE_OPENAI_API_KEY",
        url: Some("AZURE_OPENAI_ENDPOINT"),
        behind: "/openai/v1",
        models: &["*"],
    },
    Preset {
        name: "openai",
        dialect: Family::Openai,
        base_url: "https://api.openai.com/v1",
        key: "OPENAI_API_KEY",
        url: Some("OPENAI_BASE_URL"),
        behind: "",
        models: &["*"],
    },
    // It has no key, so its address says that it is there.
    Preset {
        name: "ollama",
        dialect: Family::Ollama,
        base_url: "",
        key: "OLLAMA_HOST",
        url: Some("OLLAMA_HOST"),
        behind: "",
        models: &["*"],
    },
];

/// The providers whose variables are set. One alone gets every model.
pub(super) fn found<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Vec<Config> {
    let found = PRESETS.iter().filter_map(|preset| {
        variable(preset.key)?;
        let url = preset.url.and_then(&variable).map(|url| match url.contains("://") {
            true => format!("{}{}", url.trim_end_matches('/'), preset.behind),
            // As Ollama's own clients read it.
            false if !url.contains(':') => format!("http://{url}:11434{}", preset.behind),
            false => format!("http://{url}{}", preset.behind),
        });
        Some(Config {
            name: preset.name.into(),
            dialect: preset.dialect,
            base_url: url.as_deref().unwrap_or(preset.base_url).parse().ok()?,
            api_key_env: (preset.url != Some(preset.key)).then(|| preset.key.into()),
            credentials: Credentials::Gateway,
            models: preset.models.iter().map(ToString::to_string).collect(),
            paths: Vec::new(),
            proxy_paths: None,
        })
    });
    let mut found: Vec<Config> = found.collect();
    if let [only] = &mut found[..] {
        only.models = vec!["*".into()];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: &[(&str, &'static str)]) -> Vec<String> {
        let found = found(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| *value));
        found
            .iter()
            .map(|config| format!("{} {} {}", config.name, config.base_url, config.models[0]))
            .collect()
    }

    #[test]
    fn a_key_is_enough() {
        assert!(names(&[("OTHER_API_KEY", "k")]).is_empty());
        assert_eq!(names(&[("GROQ_API_KEY", "k")]), ["groq https://api.groq.com/openai/v1 *"]);
        assert_eq!(
            names(&[
                ("OPENAI_API_KEY", "k"),
                ("ANTHROPIC_API_KEY", "k"),
                ("OPENAI_BASE_URL", "http://x/v1/")
            ]),
            ["anthropic https://api.anthropic.com/ claude-*", "openai http://x/v1 *"]
        );
        for host in ["127.0.0.1:11434", "127.0.0.1", "http://127.0.0.1:11434"] {
            assert_eq!(names(&[("OLLAMA_HOST", host)]), ["ollama http://127.0.0.1:11434/ *"]);
        }
        assert!(names(&[("AZURE_OPENAI_API_KEY", "k")]).is_empty(), "without its address it is nowhere");
        assert_eq!(
            names(&[("AZURE_OPENAI_API_KEY", "k"), ("AZURE_OPENAI_ENDPOINT", "https://x.openai.azure.com/")]),
            ["azure https://x.openai.azure.com/openai/v1 *"]
        );
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PRESETS.len());
    }
}
